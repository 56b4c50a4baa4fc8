//! Where data is kept: as told, or in a place that outlives a restart of the machine.

use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::layers::Layers;

/// The directory for root.
const SYSTEM_DATA_DIR: &str = "/var/lib/millpond";
/// Places that are emptied behind one's back.
const TEMPORARY_DIRS: &[&str] = &["/tmp", "/var/tmp", "/dev/shm", "/run"];

/// The option `data`, else the default of this machine and user.
pub(super) fn resolve(
    layers: &Layers,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<PathBuf, ConfigError> {
    let given = layers.option("data").texts;
    match given.as_slice() {
        [] => default(rustix::process::geteuid().is_root(), variable),
        [path] if path.is_empty() => Err(layers.invalid("data", "must be a directory")),
        [path] => Ok(PathBuf::from(path)),
        _ => Err(layers.invalid("data", "must be one directory: there is one per broker")),
    }
}

fn default(
    is_root: bool,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<PathBuf, ConfigError> {
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let path = if let Some(data_home) = absolute("XDG_DATA_HOME") {
        data_home.join("millpond")
    } else if is_root {
        PathBuf::from(SYSTEM_DATA_DIR)
    } else if let Some(home) = absolute("HOME") {
        home.join(".local/share/millpond")
    } else {
        let reason = "neither XDG_DATA_HOME nor HOME is set".to_owned();
        return Err(ConfigError::NoDataDir { reason });
    };
    let temporary = absolute("TMPDIR");
    let mut temporary_dirs = TEMPORARY_DIRS.iter().map(Path::new).chain(temporary.as_deref());
    if temporary_dirs.any(|directory| path.starts_with(directory)) {
        let reason = format!("{} is temporary", path.display());
        return Err(ConfigError::NoDataDir { reason });
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        move |name| {
            let found = variables.iter().find(|(candidate, _)| *candidate == name);
            found.map(|(_, value)| (*value).to_owned())
        }
    }

    #[test]
    fn the_default_is_a_lasting_place() {
        let home = with(&[("HOME", "/home/ann")]);
        assert_eq!(default(false, &home).unwrap(), Path::new("/home/ann/.local/share/millpond"));
        assert_eq!(default(true, &home).unwrap(), Path::new(SYSTEM_DATA_DIR));
        let data_home = with(&[("HOME", "/home/ann"), ("XDG_DATA_HOME", "/data")]);
        assert_eq!(default(true, &data_home).unwrap(), Path::new("/data/millpond"));
    }

    #[test]
    fn a_temporary_or_missing_place_is_refused() {
        for variables in [
            with(&[]),
            with(&[("HOME", "/tmp/x")]),
            with(&[("HOME", "relative")]),
            with(&[("HOME", "/scratch/ann"), ("TMPDIR", "/scratch")]),
        ] {
            let error = default(false, &variables).unwrap_err().to_string();
            assert!(error.contains("--data DIR"), "{error}");
        }
    }
}
