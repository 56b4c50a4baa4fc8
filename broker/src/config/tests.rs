//! What a configuration accepts, which source wins, and what its errors say.

use std::io::Write as _;

use super::*;

/// Files and flags of one case.
#[derive(Default)]
struct Case {
    toml: &'static str,
    properties: &'static str,
    environment: &'static [(&'static str, &'static str)],
    flags: &'static [(&'static str, &'static str)],
}

impl Case {
    fn load(&self) -> Result<Config, ConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
            path
        };
        let given = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(name, value)| {
                    let option = OPTIONS.iter().chain([&SET]).find(|option| option.name == *name);
                    let texts = value.split_whitespace().map(str::to_owned).collect();
                    (option.expect("a known option"), texts)
                })
                .collect()
        };
        let inputs = Inputs {
            config_file: (!self.toml.is_empty()).then(|| file("millpond.toml", self.toml)),
            kafka_config_file: (!self.properties.is_empty())
                .then(|| file("server.properties", self.properties)),
            environment: given(self.environment),
            flags: given(self.flags),
        };
        Config::load(&inputs, &|name| (name == "HOME").then(|| "/home/ann".to_owned()))
    }

    fn error(&self) -> String {
        self.load().expect_err("must be refused").to_string()
    }
}

#[test]
fn without_anything_it_is_a_loopback_broker() {
    let config = Case::default().load().unwrap();
    assert_eq!(config.listeners[0].address.to_string(), "127.0.0.1:9092");
    assert_eq!(config.listeners[0].advertised_host, "127.0.0.1");
    assert_eq!(config.listeners[0].name, "PLAINTEXT");
    assert_eq!(config.http.to_string(), "127.0.0.1:9644");
    assert_eq!(config.broker_id, None);
    assert_eq!(config.log_filter, "info");
}

#[test]
fn later_sources_win() {
    let mut case = Case {
        properties: "num.partitions=1\nlog.dirs=/one\nlisteners=PLAINTEXT://127.0.0.1:1\n",
        ..Case::default()
    };
    assert_eq!(case.load().unwrap().settings.num_partitions, 1);
    assert_eq!(case.load().unwrap().data_dir, Path::new("/one"));
    case.toml = "data = '/two'\nlisten = ['127.0.0.1:2', 'INNER://127.0.0.1:3']\n\
                 [kafka]\nnum.partitions = 2\n";
    assert_eq!(case.load().unwrap().settings.num_partitions, 2);
    assert_eq!(case.load().unwrap().data_dir, Path::new("/two"));
    let names: Vec<_> = case.load().unwrap().listeners.into_iter().map(|l| l.name).collect();
    assert_eq!(names, ["PLAINTEXT", "INNER"]);
    case.environment = &[("set", "num.partitions=3"), ("data", "/three")];
    assert_eq!(case.load().unwrap().settings.num_partitions, 3);
    case.flags = &[("set", "num.partitions=4"), ("listen", "127.0.0.1:4")];
    let config = case.load().unwrap();
    assert_eq!(config.settings.num_partitions, 4);
    assert_eq!(config.data_dir, Path::new("/three"));
    assert_eq!(config.listeners.len(), 1);
    let shown = show(&config);
    assert!(shown.contains("data = \"/three\"  # environment MILLPOND_DATA\n"), "{shown}");
    assert!(shown.contains("\"num.partitions\" = 4  # flag --set\n"), "{shown}");
    assert!(shown.contains("http = \"127.0.0.1:9644\"  # default\n"), "{shown}");
}

#[test]
fn what_show_prints_can_be_given_back() {
    let case = Case {
        toml: "insecure = true\nlisten = '0.0.0.0:9092'\nadvertise = 'broker.example:9092'\n\
               data = '/data'\n[kafka]\nlog.retention.ms = 5_000\n\"message.max.bytes\" = 0x1000\n",
        ..Case::default()
    };
    let shown = show(&case.load().unwrap());
    let mut layers = Layers::default();
    toml_file::read(&shown, Path::new("shown.toml"), &mut layers).unwrap();
    let again = Config::check(layers, &|_| None).unwrap();
    assert_eq!(again.listeners, case.load().unwrap().listeners);
    assert_eq!(again.settings.given["log.retention.ms"], "5000");
    assert_eq!(again.settings.given["message.max.bytes"], "4096");
}

#[test]
fn the_example_is_valid_and_changes_nothing() {
    let mut layers = Layers::default();
    toml_file::read(&example(), Path::new("example.toml"), &mut layers).unwrap();
    assert!(layers.kafka_values().is_empty());
    // Uncommented, every line is one that the file knows.
    let is_setting = |line: &&str| line.starts_with('#') && !line.starts_with("# ");
    for line in example().lines().filter(is_setting) {
        let line = &line[1..];
        let text = if line.starts_with('"') { format!("[kafka]\n{line}") } else { line.to_owned() };
        toml_file::read(&text, Path::new("line.toml"), &mut layers)
            .unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn errors_name_the_line_and_the_remedy() {
    let cases: &[(&str, &[&str])] = &[
        ("\ndta = '/x'\n", &["millpond.toml:2", "unknown setting dta", "did you mean data?"]),
        (
            "[kafka]\n\nnum.partitoins = 3\n",
            &["millpond.toml:3", "num.partitoins", "did you mean num.partitions?"],
        ),
        ("data = \n", &["millpond.toml:1"]),
        ("[kafka]\nnum.partitions = 'many'\n", &["millpond.toml:2", "num.partitions", "many"]),
        ("listen = 'localhost'\n", &["millpond.toml:1", "HOST:PORT"]),
        ("listen = '192.0.2.1:9092'\n", &["192.0.2.1:9092", "--insecure"]),
        ("http = '0.0.0.0:9644'\n", &["http", "--insecure"]),
        ("insecure = true\nlisten = '0.0.0.0:9092'\n", &["PLAINTEXT", "--advertise HOST:PORT"]),
        ("insecure = true\nlisten = ':9092'\nadvertise = '0.0.0.0:1'", &["millpond.toml:3"]),
        ("advertise = 'OTHER://host:1'", &["millpond.toml:1", "no listener"]),
        ("listen = ['SSL://127.0.0.1:1']\n", &["millpond.toml:1", "only PLAINTEXT"]),
        ("listen = ['A://127.0.0.1:1', 'A://127.0.0.1:2']\n", &["two listeners named A"]),
        ("insecure = 'perhaps'\n", &["millpond.toml:1", "true or false"]),
        ("log-format = 'xml'\n", &["text or json"]),
        ("log-format = ['a']\n", &["log-format cannot be an array"]),
    ];
    for (toml, wanted) in cases {
        let error = Case { toml, ..Case::default() }.error();
        for wanted in *wanted {
            assert!(error.contains(wanted), "{toml:?}: {error:?} does not name {wanted:?}");
        }
    }
    let error = Case { flags: &[("set", "num.partition=3")], ..Case::default() }.error();
    assert!(error.starts_with("flag --set: unknown setting num.partition;"), "{error}");
    let error = Case { environment: &[("set", "nonsense")], ..Case::default() }.error();
    assert!(error.contains("environment MILLPOND_SET") && error.contains("KEY=VALUE"), "{error}");
}

#[test]
fn a_node_meets_others_only_where_that_is_asked_for() {
    let alone = Case::default().load().unwrap().inter_node;
    assert_eq!((alone.join.len(), alone.listener_given, alone.secret), (0, false, None));
    assert_eq!(alone.address.to_string(), "127.0.0.1:9192");
    let case = Case {
        toml: "join = ['a:1', '[::1]:2']\nnode-id = 7\n",
        environment: &[("cluster-secret", "0123456789abcdef")],
        flags: &[("inter-node-listener", "0.0.0.0:0"), ("inter-node-advertise", "host:0")],
        ..Case::default()
    };
    let config = case.load().unwrap();
    let join: Vec<_> = config.inter_node.join.iter().map(ToString::to_string).collect();
    assert_eq!(join, ["a:1", "[::1]:2"]);
    assert_eq!(config.broker_id, Some(BrokerId::new(7)));
    assert_eq!(config.inter_node.advertised_host, "host");
    assert_eq!(config.inter_node.advertised_port, None);
    assert!(config.inter_node.listener_given);
    let shown = show(&config);
    assert!(!shown.contains("0123456789abcdef"), "{shown}");
    assert!(!format!("{:?}", config.inter_node).contains("0123456789abcdef"));
    let flags = &[("join", "a:1,b:2,a:1")];
    assert_eq!(Case { flags, ..Case::default() }.load().unwrap().inter_node.join.len(), 2);
    let flags = &[("set", "node.id=3")];
    let environment = &[("node-id", "2")];
    let config = Case { flags, environment, ..Case::default() }.load().unwrap();
    assert_eq!(config.broker_id, Some(BrokerId::new(3)));
}

#[test]
fn a_reachable_inter_node_port_wants_a_secret_that_nobody_can_read() {
    let open = "inter-node-listener = '0.0.0.0:9192'\ninter-node-advertise = 'h:1'\n";
    let error = Case { toml: open, ..Case::default() }.error();
    let words = ["0.0.0.0:9192", "MILLPOND_CLUSTER_SECRET", "--cluster-secret-file", "127.0.0.1"];
    assert!(words.iter().all(|word| error.contains(word)), "{error}");
    let error = Case { toml: "cluster-secret = 'short'\n", ..Case::default() }.error();
    assert!(error.contains("millpond.toml:1") && error.contains("16"), "{error}");
    assert!(!error.contains("short"), "{error}");
    let flags = &[("set", "cluster-secret=0123456789abcdef")];
    let error = Case { flags, ..Case::default() }.error();
    assert!(error.contains("environment") && !error.contains("0123456789"), "{error}");
    let toml = "inter-node-listener = '0.0.0.0:1'\ncluster-secret = '0123456789abcdef'\n";
    let error = Case { toml, ..Case::default() }.error();
    assert!(error.contains("--inter-node-advertise"), "{error}");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"fedcba9876543210\n").unwrap();
    let mut layers = Layers::default();
    let path = file.path().to_str().unwrap().to_owned();
    let option = OPTIONS.iter().find(|option| option.name == "cluster-secret-file").unwrap();
    layers.put_option(option, &[path], &Source::Default).unwrap();
    let secret = inter_node::resolve(&layers).unwrap().secret.unwrap();
    assert_eq!(secret.bytes(), b"fedcba9876543210");
}

#[test]
fn a_server_properties_of_kafka_can_be_given_as_it_is() {
    let config = Case {
        properties: "# Kafka's own example\nprocess.roles=broker,controller\nnode.id=7\n\
            controller.quorum.bootstrap.servers=localhost:9093\n\
            listeners=PLAINTEXT://:9092,CONTROLLER://:9093\n\
            advertised.listeners = PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093\n\
            controller.listener.names: CONTROLLER\n\
            listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL\n\
            log.dirs=/data/kraft\\\n  -logs\nnum.partitions 3\nsome.plugin.setting=x\n",
        flags: &[("insecure", "true")],
        ..Case::default()
    }
    .load()
    .unwrap();
    assert_eq!(config.broker_id, Some(BrokerId::new(7)));
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.listeners[0].address.to_string(), "0.0.0.0:9092");
    assert_eq!(config.listeners[0].advertised_host, "localhost");
    assert_eq!(config.listeners[0].advertised_port, Some(9092));
    assert_eq!(config.data_dir, Path::new("/data/kraft-logs"));
    assert_eq!(config.settings.num_partitions, 3);
    assert!(config.names_without_effect.contains(&"some.plugin.setting".to_owned()));
    assert!(!config.names_without_effect.contains(&"num.partitions".to_owned()));
}
