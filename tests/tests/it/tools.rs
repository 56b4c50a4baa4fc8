//! Apache Kafka's command-line tools.
