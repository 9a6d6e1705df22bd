//! Paths below a root directory, as a process would see them for which that directory is `/`.

use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

/// As many symbolic links as the kernel follows in one path (path_resolution(7)).
const LINKS: usize = 40;

/// Where `path`, as seen inside `root`, is for us. Links are followed inside the root, those that begin with
/// `/` too, and `..` doesn't lead out of it. What doesn't exist is left as it is written.
///
/// # Errors
///
/// More than 40 links, or a link that can't be read.
pub fn resolve(root: &Path, path: &Path) -> io::Result<PathBuf> {
    if root == Path::new("/") {
        return Ok(path.to_owned());
    }
    let mut todo: Vec<OsString> = parts(path);
    let mut done = PathBuf::new();
    let mut links = 0;
    while let Some(part) = todo.pop() {
        if part == ".." {
            done.pop();
            continue;
        }
        let here = root.join(&done).join(&part);
        match std::fs::read_link(&here) {
            Ok(target) => {
                links += 1;
                if links > LINKS {
                    return Err(io::Error::other("too many levels of symbolic links"));
                }
                if target.is_absolute() {
                    done.clear();
                }
                todo.extend(parts(&target));
            }
            // Not a link (EINVAL), or nothing at all.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::InvalidInput | io::ErrorKind::NotFound
                ) =>
            {
                done.push(&part);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(root.join(done))
}

/// The parts of a path, last first.
fn parts(path: &Path) -> Vec<OsString> {
    path.components()
        .rev()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn absolute_links_stay_below_the_root() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("etc/real")).unwrap();
        symlink("/etc/real", root.path().join("etc/link")).unwrap();
        let found = resolve(root.path(), Path::new("/etc/link/file")).unwrap();
        assert_eq!(found, root.path().join("etc/real/file"));
    }

    #[test]
    fn dots_do_not_lead_out_of_the_root() {
        let root = tempfile::tempdir().unwrap();
        symlink("../../../../../etc/passwd", root.path().join("out")).unwrap();
        let found = resolve(root.path(), Path::new("/out")).unwrap();
        assert_eq!(found, root.path().join("etc/passwd"));
    }

    #[test]
    fn a_loop_of_links_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        symlink("/b", root.path().join("a")).unwrap();
        symlink("/a", root.path().join("b")).unwrap();
        assert!(resolve(root.path(), Path::new("/a")).is_err());
    }
}
