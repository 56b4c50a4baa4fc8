#!/bin/sh
# Stands in for the script of Apache Kafka's distribution, of which the jars alone are installed.
exec "$(dirname "$0")/run-class" org.apache.kafka.tools.TopicCommand "$@"
