//! Reading what has names and may get more of them: rows of answers, and replies to `GetAll`.

use std::collections::HashMap;

use zbus::{OwnedVariant, Variant};

/// Values by their names. One that is missing or of another type, of a daemon of another version, is as good as none.
#[derive(Debug)]
pub struct Fields(HashMap<String, OwnedVariant>);

impl From<HashMap<String, OwnedVariant>> for Fields {
    fn from(all: HashMap<String, OwnedVariant>) -> Self {
        Self(all)
    }
}

impl Fields {
    /// A value; its default if it isn't there.
    pub fn get<T>(&mut self, name: &str) -> T
    where
        T: Default + TryFrom<Variant<'static>>,
    {
        self.given(name).unwrap_or_default()
    }

    /// A value that may not be there.
    pub fn given<T: TryFrom<Variant<'static>>>(&mut self, name: &str) -> Option<T> {
        let value = self.0.remove(name).map(Variant::from)?;
        T::try_from(value).ok()
    }

    /// A time or a span in microseconds, of which 0 is none.
    pub fn usec(&mut self, name: &str) -> Option<u64> {
        some(self.get(name))
    }

    /// A text, of which the empty one is none.
    pub fn text(&mut self, name: &str) -> Option<String> {
        self.given(name).filter(|text: &String| !text.is_empty())
    }
}

/// 0 is none.
pub fn some(usec: u64) -> Option<u64> {
    Some(usec).filter(|&usec| usec > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_and_misshapen_values_are_as_good_as_none() {
        let values = [
            ("name", Variant::from("upcp")),
            ("runs", Variant::from("many")),
            ("class", Variant::from("")),
            ("since", Variant::from(0_u64)),
            ("until", Variant::from(5_u64)),
        ];
        let owned = values.map(|(name, it)| (name.to_owned(), OwnedVariant::try_from(it).unwrap()));
        let mut fields = Fields::from(HashMap::from(owned));
        assert_eq!(fields.get::<u64>("runs"), 0);
        assert_eq!(fields.get::<String>("missing"), "");
        assert_eq!(fields.text("class"), None);
        assert_eq!(fields.text("name").as_deref(), Some("upcp"));
        assert_eq!(fields.usec("since"), None);
        assert_eq!(fields.usec("until"), Some(5));
        assert_eq!(fields.given::<i32>("signal"), None);
    }
}
