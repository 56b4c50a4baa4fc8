//! Prints every setting as a broker describes it: `configs HOST:PORT`. With a file of such lines after
//! that, prints what differs from it.

use anyhow::Context as _;
use harness::configs::{describe, differences, from_text, to_text};
use harness::wire::Connection;
use std::io::Write as _;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: configs HOST:PORT [FILE]";
    let address = arguments.next().context(usage)?.parse().context(usage)?;
    let ours = describe(&mut Connection::open(address));
    let text = match arguments.next() {
        None => to_text(&ours),
        Some(path) => {
            let theirs = from_text(&std::fs::read_to_string(path)?);
            let line = |((kind, name), sides)| format!("{kind}\t{name}\t{sides}\n");
            differences(&theirs, &ours).into_iter().map(line).collect()
        }
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}
