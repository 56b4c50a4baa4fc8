//! Flags and environment, made from the table of options.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::dev::NODES_MAX;
use super::exit::EXITS;
use crate::config::{FILES, Inputs, OPTIONS, Opt, SET, environment_name};

/// What the process should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    Start,
    /// Several nodes on this machine.
    Dev {
        nodes: u16,
    },
    ConfigCheck,
    ConfigShow,
    ConfigExample,
}

/// A command line that was understood.
#[derive(Debug)]
pub(super) struct Arguments {
    pub(super) task: Task,
    pub(super) inputs: Inputs,
}

const ABOUT: &str = "A log broker that Kafka clients use as if it were Kafka.\n\n\
    Without arguments it starts one durable node on 127.0.0.1:9092.";
const DEV_ABOUT: &str = "Run a cluster of several nodes on this machine, each a process of its own \
    on free ports: to try what happens when one is killed.\n\n\
    Data is kept in the directory of --data, else in a temporary one that is removed at the end. \
    --set, --log, --log-format and --group-metrics-max are passed on to every node.";
/// The argument of `dev`, and what it is if it is not given.
const NODES: &str = "nodes";
const NODES_DEFAULT: u16 = 3;
/// Separates the values of an option that repeats, and those of `set`, in the environment.
const SEPARATORS: (char, char) = (',', ';');

/// Understands the command line.
///
/// # Errors
/// An error to print; help and version come this way, too.
pub(super) fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Arguments, clap::Error> {
    let matches = command().try_get_matches_from(arguments)?;
    let (task, matches) = match matches.subcommand() {
        Some(("config", config)) => match config.subcommand() {
            Some(("check", matches)) => (Task::ConfigCheck, matches),
            Some(("show", matches)) => (Task::ConfigShow, matches),
            Some(("example", matches)) => (Task::ConfigExample, matches),
            Some(_) | None => unreachable!("clap demands one of the three"),
        },
        Some(("dev", dev)) => {
            let nodes = dev.get_one::<u16>(NODES).copied().unwrap_or(NODES_DEFAULT);
            (Task::Dev { nodes }, dev)
        }
        Some(_) | None => (Task::Start, &matches),
    };
    Ok(Arguments { task, inputs: inputs(matches, variable) })
}

fn inputs(matches: &ArgMatches, variable: &dyn Fn(&str) -> Option<String>) -> Inputs {
    let file = |option: &Opt| {
        let flag = matches.get_one::<String>(option.name).cloned();
        flag.or_else(|| variable(&environment_name(option))).map(PathBuf::from)
    };
    let [config, kafka_config] = FILES else { unreachable!("the table has two files") };
    let options = || OPTIONS.iter().chain([&SET]);
    Inputs {
        config_file: file(config),
        kafka_config_file: file(kafka_config),
        environment: options()
            .filter_map(|option| {
                let text = variable(&environment_name(option)).filter(|text| !text.is_empty())?;
                Some((option, split(option, &text)))
            })
            .collect(),
        flags: options()
            .filter_map(|option| Some((option, flag_texts(option, matches)?)))
            .collect(),
    }
}

fn split(option: &Opt, text: &str) -> Vec<String> {
    let (list, settings) = SEPARATORS;
    let separator = if option.name == SET.name { settings } else { list };
    if !option.repeats {
        return vec![text.to_owned()];
    }
    let items = text.split(separator).map(str::trim).filter(|item| !item.is_empty());
    items.map(str::to_owned).collect()
}

fn flag_texts(option: &Opt, matches: &ArgMatches) -> Option<Vec<String>> {
    if option.secret {
        return None;
    }
    if option.is_switch() {
        return matches.get_flag(option.name).then(|| vec!["true".to_owned()]);
    }
    Some(matches.get_many::<String>(option.name)?.cloned().collect())
}

fn command() -> Command {
    let subcommands = [
        ("check", "Check the configuration and name what is wrong with it"),
        ("show", "Show the values in effect and where each comes from"),
        ("example", "Print a commented configuration file"),
    ];
    let config = Command::new("config")
        .about("Look at the configuration")
        .subcommand_required(true)
        .subcommands(subcommands.map(|(name, about)| Command::new(name).about(about)));
    let nodes = Arg::new(NODES)
        .short('n')
        .value_name("NODES")
        .value_parser(clap::value_parser!(u16).range(1..=i64::from(NODES_MAX)))
        .help(format!("How many nodes, default {NODES_DEFAULT}"));
    let dev = Command::new("dev")
        .about("Run a cluster of several nodes on this machine, each a process, on free ports")
        .long_about(DEV_ABOUT)
        .arg(nodes);
    Command::new(super::PROGRAM)
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_help(exit_help())
        .next_line_help(true)
        .subcommand(config)
        .subcommand(dev)
        .args(
            OPTIONS.iter().filter(|option| !option.secret).chain(FILES).chain([&SET]).map(argument),
        )
}

fn argument(option: &'static Opt) -> Arg {
    let environment = environment_name(option);
    let default = match option.default {
        "" | "false" => String::new(),
        default => format!(", default {default}"),
    };
    let argument = Arg::new(option.name)
        .long(option.name)
        .global(true)
        .help(format!("{} [{environment}{default}]", option.help));
    if option.is_switch() {
        return argument.action(ArgAction::SetTrue);
    }
    let action = if option.repeats { ArgAction::Append } else { ArgAction::Set };
    argument.value_name(option.value_name).action(action)
}

fn exit_help() -> String {
    let mut text = String::from("Exit codes:\n");
    for (exit, meaning) in EXITS {
        writeln!(text, "  {}  {meaning}", exit.code()).expect("writing to a String cannot fail");
    }
    text.push_str("\nA second signal while stopping ends the process at once.");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str], variables: &[(&str, &str)]) -> Arguments {
        let arguments = [&["millpond"], arguments].concat();
        let variable = |name: &str| {
            let found = variables.iter().find(|(candidate, _)| *candidate == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        parse(arguments.into_iter().map(OsString::from), &variable).unwrap()
    }

    fn given(inputs: &[(&'static Opt, Vec<String>)]) -> Vec<(&'static str, String)> {
        inputs.iter().map(|(option, texts)| (option.name, texts.join(" "))).collect()
    }

    #[test]
    fn the_table_makes_a_legal_command() {
        command().debug_assert();
        for option in OPTIONS.iter().chain(FILES).chain([&SET]) {
            assert!(command().render_long_help().to_string().contains(&environment_name(option)));
        }
    }

    #[test]
    fn flags_and_environment_are_kept_apart() {
        let arguments = parsed(
            &["--listen", "a:1", "--insecure", "--listen=b:2", "--set", "x=1,2", "--set", "y=3"],
            &[("MILLPOND_LISTEN", "c:3, d:4"), ("MILLPOND_SET", "x=1,2;y=3"), ("MILLPOND_LOG", "")],
        );
        assert_eq!(arguments.task, Task::Start);
        let flags = [("listen", "a:1 b:2"), ("insecure", "true"), ("set", "x=1,2 y=3")];
        assert_eq!(given(&arguments.inputs.flags), flags.map(|(n, t)| (n, t.to_owned())));
        let environment = [("listen", "c:3 d:4"), ("set", "x=1,2 y=3")];
        assert_eq!(
            given(&arguments.inputs.environment),
            environment.map(|(n, t)| (n, t.to_owned()))
        );
    }

    #[test]
    fn config_commands_take_the_same_flags() {
        let arguments = parsed(&["config", "show", "--data", "/x"], &[("MILLPOND_CONFIG", "/f")]);
        assert_eq!(arguments.task, Task::ConfigShow);
        assert_eq!(given(&arguments.inputs.flags), [("data", "/x".to_owned())]);
        assert_eq!(arguments.inputs.config_file, Some(PathBuf::from("/f")));
        assert_eq!(parsed(&["--data", "/x", "config", "check"], &[]).task, Task::ConfigCheck);
        let dev = parsed(&["dev", "-n", "2", "--set", "x=1"], &[]);
        assert_eq!(dev.task, Task::Dev { nodes: 2 });
        assert_eq!(given(&dev.inputs.flags), [("set", "x=1".to_owned())]);
        assert_eq!(parsed(&["dev"], &[]).task, Task::Dev { nodes: NODES_DEFAULT });
    }
}
