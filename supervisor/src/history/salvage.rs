//! What of a damaged database is still whole goes into the new one: mostly one table is hit, the largest, and the
//! queue and the deployments needn't go with it.

use std::path::Path;

use rusqlite::{Connection, params};

use super::schema;

/// Of a file larger than this the runs aren't taken over, bytes: the gates wait meanwhile.
const MUCH: u64 = 64 << 20;

/// The large ones.
const LARGE: [&str; 2] = ["runs", "skips"];

/// What became of the tables, by name.
#[derive(Debug, Default)]
pub(super) struct Salvaged {
    pub(super) kept: Vec<String>,
    pub(super) lost: Vec<String>,
}

/// Makes a new database of what is whole in `damaged`, table by table.
pub(super) fn salvage(damaged: &Path, new: &Path) -> rusqlite::Result<Salvaged> {
    let database = schema::connect(new, false)?;
    let is_large = std::fs::metadata(damaged).is_ok_and(|file| file.len() > MUCH);
    database.execute("ATTACH ?1 AS old", [uri(damaged)])?;
    let known: i64 = database.pragma_query_value(Some("old"), "user_version", |row| row.get(0))?;
    let mut salvaged = Salvaged::default();
    for (table, sql) in tables(&database)? {
        let is_ours: bool = database.query_row(
            "SELECT EXISTS (SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = ?1)",
            [&table],
            |row| row.get(0),
        )?;
        let is_other = is_ours && known != schema::VERSION;
        let is_too_much = is_large && LARGE.contains(&table.as_str());
        let done = !is_other
            && !is_too_much
            && take_over(&database, &table, (!is_ours).then_some(&sql)).is_ok();
        match done {
            true => salvaged.kept.push(table),
            false => salvaged.lost.push(table),
        }
    }
    Ok(salvaged)
}

fn tables(database: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let mut tables = database.prepare(
        "SELECT name, sql FROM old.sqlite_schema
         WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND sql IS NOT NULL ORDER BY name",
    )?;
    let tables = tables.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    tables.collect()
}

/// All of it or nothing: only what SQLite finds no fault with. `sql` makes the table, if it isn't the history's.
fn take_over(database: &Connection, table: &str, sql: Option<&String>) -> rusqlite::Result<()> {
    let name = table.replace('"', "\"\"");
    let check = format!("PRAGMA old.quick_check(\"{name}\")");
    let found: String = database.query_row(&check, [], |row| row.get(0))?;
    if found != "ok" {
        return Err(rusqlite::Error::QueryReturnedNoRows);
    }
    let transaction = database.unchecked_transaction()?;
    if let Some(sql) = sql {
        transaction.execute_batch(sql)?;
        let mut indices = transaction.prepare(
            "SELECT sql FROM old.sqlite_schema WHERE type = 'index' AND tbl_name = ?1 AND sql IS NOT NULL",
        )?;
        let indices = indices.query_map(params![table], |row| row.get::<_, String>(0))?;
        for sql in indices.collect::<rusqlite::Result<Vec<_>>>()? {
            transaction.execute_batch(&sql)?;
        }
    }
    transaction.execute_batch(&format!(
        "INSERT INTO main.\"{name}\" SELECT * FROM old.\"{name}\""
    ))?;
    transaction.commit()
}

/// For reading only: what was put aside stays as it was.
fn uri(path: &Path) -> String {
    let path = path.to_string_lossy();
    let path = path
        .replace('%', "%25")
        .replace('?', "%3f")
        .replace('#', "%23");
    format!("file:{path}?mode=ro")
}
