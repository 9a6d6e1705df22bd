//! A file system of its own for each test of policies on disk.

#![allow(dead_code, reason = "not every test uses all of it")]
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use interlock_generator::names;
use interlock_generator::policy::settings::Settings;
use interlock_generator::policy::{self, Loaded};
use tempfile::TempDir;

/// A file system of its own.
pub struct Root(pub TempDir);

impl Root {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path.trim_start_matches('/'))
    }

    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) -> &Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    pub fn link(&self, path: &str, target: &str) -> &Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
        self
    }

    /// A fragment in /etc.
    pub fn fragment(&self, name: &str, text: &str) -> &Self {
        self.write(&format!("/etc/interlock/policy.d/{name}"), text)
    }

    pub fn load(&self) -> Loaded {
        policy::load(self.0.path())
    }

    /// Loads as the generator does, which keeps what is good.
    pub fn generate(&self) -> Loaded {
        let loaded = self.load();
        if let Some(text) = &loaded.last_good {
            self.write(names::LAST_GOOD, text);
        }
        loaded
    }
}

pub fn tasks(settings: &Settings) -> Vec<&str> {
    settings.tasks().keys().map(String::as_str).collect()
}

pub fn blocked(settings: &Settings) -> Vec<&str> {
    settings.blocked().keys().map(String::as_str).collect()
}

pub fn messages(loaded: &Loaded) -> Vec<String> {
    let errors = loaded.diagnostics.iter().filter(|it| it.is_error());
    errors.map(|it| it.one_line()).collect()
}

pub fn task(name: &str) -> String {
    format!("[tasks.{name}]\nunit = \"{name}.service\"\n")
}

pub const WRONG: &str = "colour = 1\n";
