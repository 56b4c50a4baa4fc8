//! The one table of the broker's own options. It makes the flags, the names in the environment and
//! in the file, `config example` and the help.

/// One option.
#[derive(Debug)]
pub(crate) struct Opt {
    /// Name in the file; the flag is `--name`.
    pub(crate) name: &'static str,
    /// What its value is called; empty for a switch.
    pub(crate) value_name: &'static str,
    /// Whether it may be given several times.
    pub(crate) repeats: bool,
    /// Default; empty where it depends on the machine or there is none.
    pub(crate) default: &'static str,
    /// What it does, in sentences.
    pub(crate) help: &'static str,
}

impl Opt {
    /// Whether it stands for itself, without a value.
    pub(crate) const fn is_switch(&self) -> bool {
        self.value_name.is_empty()
    }
}

/// `MILLPOND_` and the name.
pub(crate) fn environment_name(option: &Opt) -> String {
    format!("MILLPOND_{}", option.name.to_ascii_uppercase().replace('-', "_"))
}

/// What a file, the environment and flags can set.
pub(crate) const OPTIONS: &[Opt] = &[
    Opt {
        name: "data",
        value_name: "DIR",
        repeats: false,
        default: "",
        help: "Directory of everything that is kept. Default: $XDG_DATA_HOME/millpond; else \
               /var/lib/millpond for root and ~/.local/share/millpond for others. Never under a \
               temporary directory unless named here.",
    },
    Opt {
        name: "listen",
        value_name: "HOST:PORT",
        repeats: true,
        default: "127.0.0.1:9092",
        help: "Where Kafka clients connect, or NAME://HOST:PORT. Port 0 lets the system choose.",
    },
    Opt {
        name: "advertise",
        value_name: "HOST:PORT",
        repeats: true,
        default: "",
        help: "What clients are told to connect to, or NAME://HOST:PORT. Without a name it belongs \
               to the listener at the same place in the list. Default: the listener's own address.",
    },
    Opt {
        name: "http",
        value_name: "HOST:PORT",
        repeats: false,
        default: "127.0.0.1:9644",
        help: "Where health and metrics are served.",
    },
    Opt {
        name: "insecure",
        value_name: "",
        repeats: false,
        default: "false",
        help: "Allow addresses that other machines can reach, although nobody has to authenticate.",
    },
    Opt {
        name: "log",
        value_name: "FILTER",
        repeats: false,
        default: "info",
        help: "Which log lines are written to stderr: error, warn, info, debug, or a list like \
               info,broker::connection=debug.",
    },
    Opt {
        name: "log-format",
        value_name: "FORMAT",
        repeats: false,
        default: "text",
        help: "How they are written: text or json.",
    },
    Opt {
        name: "group-metrics-max",
        value_name: "COUNT",
        repeats: false,
        default: "2000",
        help: "For how many partitions /metrics shows by group what is committed and the lag. For as \
               many more it shows sums by group, and of the rest how many were left out.",
    },
];

/// Files to read; they cannot be named in a file.
pub(crate) const FILES: &[Opt] = &[
    Opt {
        name: "config",
        value_name: "FILE",
        repeats: false,
        default: "",
        help: "TOML file with these options and a table [kafka] of Kafka's broker settings.",
    },
    Opt {
        name: "kafka-config",
        value_name: "FILE",
        repeats: false,
        default: "",
        help: "A server.properties of Kafka, as it is: what has a meaning here applies, the rest is \
               named in one warning.",
    },
];

/// One Kafka-named setting or option.
pub(crate) const SET: Opt = Opt {
    name: "set",
    value_name: "KEY=VALUE",
    repeats: true,
    default: "",
    help: "One of Kafka's broker settings, or an option by its name in the file. In the environment \
           several are separated by semicolons.",
};
