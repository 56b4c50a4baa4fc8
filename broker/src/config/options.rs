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
    /// Whether it must not be seen: it has no flag, since others can read a process's flags.
    pub(crate) secret: bool,
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
        secret: false,
        help: "Directory of everything that is kept. Default: $XDG_DATA_HOME/millpond; else \
               /var/lib/millpond for root and ~/.local/share/millpond for others. Never under a \
               temporary directory unless named here.",
    },
    Opt {
        name: "listen",
        value_name: "HOST:PORT",
        repeats: true,
        default: "127.0.0.1:9092",
        secret: false,
        help: "Where Kafka clients connect, or NAME://HOST:PORT. Port 0 lets the system choose.",
    },
    Opt {
        name: "advertise",
        value_name: "HOST:PORT",
        repeats: true,
        default: "",
        secret: false,
        help: "What clients are told to connect to, or NAME://HOST:PORT. Without a name it belongs \
               to the listener at the same place in the list. Default: the listener's own address.",
    },
    Opt {
        name: "http",
        value_name: "HOST:PORT",
        repeats: false,
        default: "127.0.0.1:9644",
        secret: false,
        help: "Where health and metrics are served.",
    },
    Opt {
        name: "node-id",
        value_name: "NUMBER",
        repeats: false,
        default: "",
        secret: false,
        help: "Id of this node, from 0 to 2147483647, different for each node of a cluster; kept in \
               the data directory. Default: what is kept there, else 1. Kafka's name is node.id.",
    },
    Opt {
        name: "join",
        value_name: "HOST:PORT,...",
        repeats: true,
        default: "",
        secret: false,
        help: "Inter-node addresses of members of the cluster to join. Nodes that all name each other \
               and belong to no cluster found one: the node with the lowest id does, the others \
               join it. A node without this founds a cluster of its own. A member needs it no more: \
               its data directory knows the others.",
    },
    Opt {
        name: "inter-node-listener",
        value_name: "HOST:PORT",
        repeats: false,
        default: "127.0.0.1:9192",
        secret: false,
        help: "Where other nodes of the cluster connect. It is open if this or --join is given, or if \
               the data directory belongs to a cluster of several nodes.",
    },
    Opt {
        name: "inter-node-advertise",
        value_name: "HOST:PORT",
        repeats: false,
        default: "",
        secret: false,
        help: "What other nodes are told to connect to. Default: the inter-node listener's own \
               address.",
    },
    Opt {
        name: "cluster-secret",
        value_name: "TEXT",
        repeats: false,
        default: "",
        secret: true,
        help: "What all nodes of a cluster know and nobody else, at least 16 characters; required \
               unless the inter-node listener is on a loopback address. In the file or the \
               environment only, since others can read a process's flags.",
    },
    Opt {
        name: "cluster-secret-file",
        value_name: "FILE",
        repeats: false,
        default: "",
        secret: false,
        help: "File with the cluster's secret, instead of cluster-secret (in a configuration file) or \
               MILLPOND_CLUSTER_SECRET; blanks at its ends do not count.",
    },
    Opt {
        name: "insecure",
        value_name: "",
        repeats: false,
        default: "false",
        secret: false,
        help: "Allow addresses that other machines can reach, although nobody has to authenticate.",
    },
    Opt {
        name: "log",
        value_name: "FILTER",
        repeats: false,
        default: "info",
        secret: false,
        help: "Which log lines are written to stderr: error, warn, info, debug, or a list like \
               info,broker::connection=debug.",
    },
    Opt {
        name: "log-format",
        value_name: "FORMAT",
        repeats: false,
        default: "text",
        secret: false,
        help: "How they are written: text or json.",
    },
    Opt {
        name: "group-metrics-max",
        value_name: "COUNT",
        repeats: false,
        default: "2000",
        secret: false,
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
        secret: false,
        help: "TOML file with these options and a table [kafka] of Kafka's broker settings.",
    },
    Opt {
        name: "kafka-config",
        value_name: "FILE",
        repeats: false,
        default: "",
        secret: false,
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
    secret: false,
    help: "One of Kafka's broker settings, or an option by its name in the file. In the environment \
           several are separated by semicolons.",
};
