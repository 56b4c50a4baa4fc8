//! How the process ends: one table of exit codes.

use std::process::ExitCode;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// As asked.
    Done,
    /// For a reason that has no code of its own.
    Failed,
    /// The command line cannot be understood.
    Usage,
    /// The configuration is not accepted.
    Config,
    /// A port cannot be bound.
    Bind,
    /// Another process holds the data directory.
    Locked,
    /// The data directory cannot be used.
    Unusable,
    /// A newer version has written the data directory.
    NewerFormat,
    /// Synced data is damaged.
    Corrupt,
    /// Stopped without a clean mark.
    NotClean,
    /// The metadata group has failed for good.
    MetadataFailed,
}

/// Every exit code with its meaning, for the help.
pub(super) const EXITS: &[(Exit, &str)] = &[
    (Exit::Done, "stopped as asked, or answered"),
    (Exit::Failed, "failed for another reason"),
    (Exit::Usage, "wrong usage"),
    (Exit::Config, "configuration not accepted"),
    (Exit::Bind, "a port cannot be bound"),
    (Exit::Locked, "the data directory is in use by another process"),
    (Exit::Unusable, "the data directory cannot be used"),
    (Exit::NewerFormat, "the data directory was written by a newer version"),
    (Exit::Corrupt, "synced data is damaged"),
    (Exit::NotClean, "stopped without syncing everything; the next start recovers"),
    (Exit::MetadataFailed, "the metadata of this broker can no longer be written"),
];

impl Exit {
    /// Its code, as the operating system sees it.
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Config => 3,
            Self::Bind => 4,
            Self::Locked => 5,
            Self::Unusable => 6,
            Self::NewerFormat => 7,
            Self::Corrupt => 8,
            Self::NotClean => 9,
            Self::MetadataFailed => 10,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_listed_once_and_in_order() {
        let codes: Vec<u8> = EXITS.iter().map(|(exit, _)| exit.code()).collect();
        assert_eq!(codes, (0..=10).collect::<Vec<u8>>());
    }
}
