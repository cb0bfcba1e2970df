//! Who runs the server: this program's user, or somebody with fewer rights if that is root.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use crate::error::Error;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Account {
    user: u32,
    group: u32,
}

impl Account {
    /// The account that the server needs instead of this program's own: `None` unless that is root.
    /// `folder` is one that this program has just made.
    pub(crate) fn instead_of_root(folder: &Path) -> Result<Option<Self>, Error> {
        let owner = fs::metadata(folder).map_err(Error::system("read a new folder"))?.uid();
        if owner != 0 {
            return Ok(None);
        }
        let accounts =
            fs::read_to_string("/etc/passwd").map_err(Error::system("read /etc/passwd"))?;
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| Self::named(name, &accounts))
            .map(Some)
            .ok_or(Error::NoAccount)
    }

    /// `accounts` in the format of `/etc/passwd`.
    fn named(name: &str, accounts: &str) -> Option<Self> {
        accounts.lines().find_map(|line| {
            let mut fields = line.split(':');
            if fields.next() != Some(name) {
                return None;
            }
            let mut numbers = fields.skip(1);
            Some(Self { user: numbers.next()?.parse().ok()?, group: numbers.next()?.parse().ok()? })
        })
    }

    /// The standard library drops root's supplementary groups along the way.
    pub(crate) fn runs(self, command: &mut Command) {
        command.uid(self.user).gid(self.group);
    }

    pub(crate) fn owns(self, folder: &Path) -> Result<(), Error> {
        chown(folder, Some(self.user), Some(self.group))
            .map_err(Error::system(format!("hand over {}", folder.display())))
    }
}
