//! Each policy in `tests/golden/` compiles to the tree that stands beside it.
//!
//! `SNAPSHOTS=overwrite cargo test -p interlock-generator --test golden` writes the trees anew: read the difference then.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Files by path, links as `-> TARGET`.
type Tree = BTreeMap<PathBuf, String>;

const DIRECTORIES: [&str; 3] = ["normal", "early", "late"];

fn read_tree(directory: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(next) = pending.pop() {
        let Ok(entries) = fs::read_dir(&next) else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("directory entry").path();
            let name = path.strip_prefix(directory).expect("below").to_owned();
            if let Ok(target) = path.read_link() {
                tree.insert(name, format!("-> {}\n", target.display()));
            } else if path.is_dir() {
                pending.push(path);
            } else {
                tree.insert(name, fs::read_to_string(&path).expect("file"));
            }
        }
    }
    tree
}

fn write_tree(directory: &Path, tree: &Tree) {
    let _ = fs::remove_dir_all(directory);
    for (name, content) in tree {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        match content.strip_prefix("-> ") {
            Some(target) => symlink(target.trim_end(), &path).expect("link"),
            None => fs::write(&path, content).expect("file"),
        }
    }
}

/// What the generator does with a fixture: its output and messages.
fn run(fixture: &Path) -> Tree {
    let work = tempfile::tempdir().expect("temporary directory");
    // On a copy, since the last good policy is written below the root.
    let root = work.path().join("root");
    let mut input = read_tree(&fixture.join("root"));
    input.insert("dev/kmsg".into(), String::new());
    write_tree(&root, &input);
    let outputs = DIRECTORIES.map(|name| work.path().join(name));
    for output in &outputs {
        fs::create_dir(output).expect("directory");
    }
    let generator = Command::new(env!("CARGO_BIN_EXE_interlock-generator"))
        .arg("--root")
        .arg(&root)
        .args(&outputs)
        .output()
        .expect("generator starts");

    let mut result = Tree::new();
    for (name, output) in DIRECTORIES.iter().zip(&outputs) {
        for (path, content) in read_tree(output) {
            result.insert(Path::new(name).join(path), content);
        }
    }
    let stderr = String::from_utf8(generator.stderr).expect("UTF-8");
    let kmsg = fs::read_to_string(root.join("dev/kmsg")).expect("kmsg");
    // The process id, the one thing that differs from run to run.
    let kmsg: String = kmsg
        .lines()
        .map(|line| {
            let (head, tail) = line.split_once("]: ").expect("prefix");
            let (name, _) = head.split_once('[').expect("prefix");
            format!("{name}[PID]: {tail}\n")
        })
        .collect();
    assert_eq!(
        generator.status.code(),
        Some(i32::from(!kmsg.is_empty())),
        "{}: {stderr}",
        fixture.display()
    );
    for (name, text) in [("stderr", stderr), ("kmsg", kmsg)] {
        if !text.is_empty() {
            result.insert(name.into(), text);
        }
    }
    result
}

#[test]
fn each_policy_compiles_to_its_expected_tree() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let overwrite = std::env::var_os("SNAPSHOTS").is_some_and(|value| value == "overwrite");
    let mut fixtures: Vec<PathBuf> = fs::read_dir(&golden)
        .expect("golden directory")
        .map(|entry| entry.expect("directory entry").path())
        .filter(|path| path.join("root").is_dir())
        .collect();
    fixtures.sort();
    assert!(!fixtures.is_empty());
    let mut differences = String::new();
    for fixture in fixtures {
        let expected = read_tree(&fixture.join("expected"));
        let result = run(&fixture);
        if result == expected {
            continue;
        }
        if overwrite {
            write_tree(&fixture.join("expected"), &result);
            continue;
        }
        for path in expected.keys().chain(result.keys()) {
            let (expected, result) = (expected.get(path), result.get(path));
            if expected != result {
                let name = fixture.join("expected").join(path);
                let none = "(nothing)\n".to_owned();
                let (expected, result) = (expected.unwrap_or(&none), result.unwrap_or(&none));
                differences += &format!(
                    "== {}\n-- expected\n{expected}-- found\n{result}",
                    name.display()
                );
            }
        }
    }
    assert!(differences.is_empty(), "{differences}");
}
