//! The main job on real input: a log shipper tails a file into a topic, and kcat reads it back.

use harness::deadline::eventually;
use harness::program::{Running, compat, run};
use harness::target::{Target, unique_topic};
use std::fs::{self, File};
use std::io::Write;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// rsyslog with omkafka, a librdkafka of 2023, with its own producer settings.
#[test]
fn rsyslog_ships_log_lines() {
    for codec in ["none", "gzip"] {
        ship(codec);
    }
}

fn ship(codec: &str) {
    let target = Target::start();
    let (topic, scratch) = (unique_topic("logs"), TempDir::new().expect("a temporary directory"));
    let folder = scratch.path();
    target.connect().create_topic(&topic, 1, &[]);

    let sample = fs::read_to_string(compat().join("rsyslog/sample.log")).expect("the sample");
    let (before, after) = sample.split_at(sample.len() / 2);
    let mut app_log = File::create(folder.join("app.log")).expect("a scratch file");
    app_log.write_all(before.as_bytes()).expect("a scratch file");

    let template = fs::read_to_string(compat().join("rsyslog/rsyslog.conf")).expect("the template");
    let conf = template
        .replace("SCRATCH", folder.to_str().expect("a plain path"))
        .replace("BOOTSTRAP", &target.kafka().to_string())
        .replace("TOPIC", &topic)
        .replace("CODEC", codec);
    let conf_path = folder.join("rsyslog.conf");
    let mut conf_file = File::create(&conf_path).expect("a scratch file");
    conf_file.write_all(conf.as_bytes()).expect("a scratch file");

    let log = File::create(folder.join("rsyslogd.log")).expect("a scratch file");
    let mut rsyslogd = Command::new("/usr/sbin/rsyslogd");
    rsyslogd.arg("-n").arg("-f").arg(&conf_path).arg("-i").arg(folder.join("pid"));
    rsyslogd.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let _shipper = Running::spawn(&mut rsyslogd);

    let lines = sample.lines().count();
    // The second half is written while the shipper tails the file.
    let mut connection = target.connect();
    eventually("the first half arrives", || {
        let end = connection.list_offset(6, &topic, 0, -1).offset;
        (end >= i64::try_from(before.lines().count()).expect("few lines") - 1).then_some(())
    });
    app_log.write_all(after.as_bytes()).expect("a scratch file");

    let bootstrap = target.kafka().to_string();
    let got = run(Command::new("kcat")
        .args(["-b", &bootstrap, "-C", "-t", &topic, "-p", "0", "-o", "beginning", "-q"])
        .args(["-c", &lines.to_string()]));
    assert_eq!(got, sample, "codec {codec}");
    assert_eq!(connection.list_offset(6, &topic, 0, -1).offset, i64::try_from(lines).expect("few"));
}
