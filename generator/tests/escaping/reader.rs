//! A small reader of systemd's unit syntax, written from systemd.syntax(7) and systemd's parsers and sharing
//! nothing with the writer that it judges.

/// An assignment as systemd sees it, before its value is parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    pub section: String,
    pub key: String,
    pub value: String,
}

/// Reads a file as systemd's `config_parse()` does; an error for anything that it would log about.
pub fn read(text: &str) -> Result<Vec<Assignment>, String> {
    let mut assignments = Vec::new();
    let mut section = String::new();
    let mut continued: Option<String> = None;
    // systemd ends a line at newline, carriage return and NUL.
    for raw in text.split(['\n', '\r', '\0']) {
        let line = raw.trim_start_matches([' ', '\t']);
        if line.starts_with(['#', ';']) {
            continue;
        }
        if raw.len() > 1024 * 1024 {
            return Err("line too long".to_owned());
        }
        let mut escaped = false;
        for character in line.chars() {
            escaped = character == '\\' && !escaped;
        }
        let mut whole = continued.take().unwrap_or_default();
        whole.push_str(line);
        if escaped {
            whole.pop();
            whole.push(' ');
            continued = Some(whole);
            continue;
        }
        let line = whole.trim_matches([' ', '\t']);
        if line.is_empty() {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            section = name.strip_suffix(']').ok_or("bad section")?.to_owned();
            continue;
        }
        let (key, value) = line.split_once('=').ok_or(format!("no '=' in {line:?}"))?;
        assignments.push(Assignment {
            section: section.clone(),
            key: key.trim_end_matches([' ', '\t']).to_owned(),
            value: value.trim_start_matches([' ', '\t']).to_owned(),
        });
    }
    match continued {
        Some(_) => Err("file ends in a continued line".to_owned()),
        None => Ok(assignments),
    }
}

/// Expands specifiers in which only `%%` is legal.
pub fn specifiers(value: &str) -> Result<String, String> {
    let mut expanded = String::new();
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        if character == '%' && characters.next() != Some('%') {
            return Err(format!("a specifier in {value:?}"));
        }
        expanded.push(character);
    }
    Ok(expanded)
}

/// Splits a value into words as `extract_first_word()` does with unquoting and C unescaping.
pub fn words(value: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\\', _) => {
                let unescaped = unescape(&mut characters)?;
                word.get_or_insert_default().push(unescaped);
            }
            (c, Some(q)) if c == q => quote = None,
            (c, Some(_)) => word.get_or_insert_default().push(c),
            ('"' | '\'', None) => {
                word.get_or_insert_default();
                quote = Some(character);
            }
            (' ' | '\t' | '\n' | '\r', None) => words.extend(word.take()),
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(format!("unbalanced quotes in {value:?}"));
    }
    words.extend(word);
    Ok(words)
}

fn unescape(characters: &mut std::str::Chars<'_>) -> Result<char, String> {
    let hex = |text: Option<String>| {
        text.and_then(|text| u8::from_str_radix(&text, 16).ok())
            .filter(|byte| *byte != 0 && byte.is_ascii())
            .map(char::from)
            .ok_or("bad \\x".to_owned())
    };
    Ok(match characters.next() {
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some(c @ ('\\' | '"' | '\'')) => c,
        Some('x') => hex(characters
            .next()
            .zip(characters.next())
            .map(|(a, b)| format!("{a}{b}")))?,
        other => return Err(format!("bad escape {other:?}")),
    })
}

/// The commands of an `ExecStart=`: a `;` that stands alone and unquoted separates them.
pub fn commands(value: &str) -> Result<usize, String> {
    let mut quote = None;
    let mut count = 1;
    let mut previous = ' ';
    let mut characters = value.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\\', _) => {
                characters.next();
            }
            (c, Some(q)) if c == q => quote = None,
            ('"' | '\'', None) => quote = Some(character),
            (';', None) if previous == ' ' && characters.peek().is_none_or(|c| *c == ' ') => {
                count += 1;
            }
            _ => (),
        }
        previous = character;
    }
    Ok(count)
}
