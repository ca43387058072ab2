//! A path as the kernel walks it (path_resolution(7)): part by part, a symbolic link replaced by what it says.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Component, Path};

use nix::errno::Errno;

/// As many symbolic links as the kernel follows.
const MOST_LINKS: u32 = 40;

/// What is left of a path. `..` is a part like any other; `.` and where the path begins are not.
#[derive(Debug)]
pub(crate) struct Walk {
    waiting: VecDeque<OsString>,
    links: u32,
}

impl Walk {
    /// All of `path`.
    pub(crate) fn along(path: &Path) -> Self {
        Self { waiting: parts(path).collect(), links: 0 }
    }

    /// The next part; it is not left any more.
    pub(crate) fn next_part(&mut self) -> Option<OsString> {
        self.waiting.pop_front()
    }

    /// The last part was a link to `target`, which comes before what is left.
    ///
    /// # Errors
    /// `ELOOP` beyond as many links as the kernel follows.
    pub(crate) fn follow(&mut self, target: &Path) -> Result<(), Errno> {
        self.links += 1;
        if self.links > MOST_LINKS {
            return Err(Errno::ELOOP);
        }
        for part in parts(target).collect::<Vec<_>>().into_iter().rev() {
            self.waiting.push_front(part);
        }
        Ok(())
    }
}

fn parts(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_link_says_comes_before_the_rest_and_only_so_many_links_are_followed() {
        let mut walk = Walk::along(Path::new("/a/./link/z"));
        assert_eq!((walk.next_part(), walk.next_part()), (Some("a".into()), Some("link".into())));
        walk.follow(Path::new("../b")).unwrap();
        assert_eq!(
            [walk.next_part(), walk.next_part(), walk.next_part(), walk.next_part()],
            [Some("..".into()), Some("b".into()), Some("z".into()), None]
        );
        assert!((1..MOST_LINKS).all(|_| walk.follow(Path::new("x")).is_ok()));
        assert_eq!(walk.follow(Path::new("x")), Err(Errno::ELOOP));
    }
}
