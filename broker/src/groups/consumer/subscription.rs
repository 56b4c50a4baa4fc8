//! What a group subscribes to: regular expressions are searched for in the topics' names, and the group
//! epoch rises when what the members want, or the topics that it finds, have changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use protocol::group_record::{ConsumerGroup as GroupEpoch, GroupRecord, RegexKey, ResolvedRegex};
use uuid::Uuid;

use super::member::Member;
use super::pattern::TopicPattern;
use super::{ConsumerGroup, Surroundings};
use crate::cluster::image::Image;
use crate::groups::effects::{Effects, GroupError};

/// New topics do not make a group search again sooner than this after the last time, as in Kafka.
const SEARCH_INTERVAL_MIN_MS: i64 = 10_000;

impl ConsumerGroup {
    /// Whether a member may subscribe with `regex`; one that the group has is good.
    pub(super) fn check_regex(&self, regex: &str) -> Result<(), GroupError> {
        if regex.is_empty() || self.state.regexes.contains_key(regex) {
            return Ok(());
        }
        match TopicPattern::new(regex) {
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::debug!(group = %self.name, regex, %error, "not a regular expression");
                Err(GroupError::InvalidRegex)
            }
        }
    }

    /// Forgets `old` if no member has it any more, searches for `new`, and now and then for all.
    /// Returns whether any expression matches other topics than before.
    pub(super) fn refresh_regexes(
        &mut self,
        old: Option<Arc<str>>,
        new: Option<Arc<str>>,
        around: Surroundings<'_>,
        effects: &mut Effects,
    ) -> bool {
        if let Some(old) = old.filter(|old| Some(old) != new.as_ref()) {
            self.forget_regex_if_unused(&old, effects);
        }
        if self.searched.is_some() && self.state.regexes.is_empty() && new.is_none() {
            return false;
        }
        let index = around.image.index;
        let is_due = match self.searched {
            None => true,
            Some((searched, at_ms)) => {
                let age_ms = around.at.wall_ms.saturating_sub(at_ms);
                let interval = around.limits.regex_refresh_interval.as_millis();
                // A clock that was set back must not keep the group from searching.
                let is_old = u128::try_from(age_ms).map_or(true, |age_ms| age_ms > interval);
                is_old || (searched != index && age_ms > SEARCH_INTERVAL_MIN_MS)
            }
        };
        let wanted: BTreeSet<Arc<str>> = if is_due {
            self.searched = Some((index, around.at.wall_ms));
            self.state.members.values().filter_map(|member| member.regex().cloned()).collect()
        } else {
            new.into_iter().filter(|regex| !self.state.regexes.contains_key(regex)).collect()
        };
        let mut has_changed = false;
        for regex in wanted {
            has_changed |= self.search(regex, around, effects);
        }
        has_changed
    }

    fn search(&mut self, regex: Arc<str>, around: Surroundings<'_>, effects: &mut Effects) -> bool {
        // One that another version of the broker took, and this one does not, matches nothing.
        let pattern = TopicPattern::new(&regex).ok();
        let names = around.image.topics.keys().map(|name| name.as_str());
        let found = names.filter(|name| pattern.as_ref().is_some_and(|it| it.matches(name)));
        let topics: Vec<Arc<str>> = found.map(Arc::from).collect();
        let known = self.state.regexes.get(&regex);
        if known.is_some_and(|known| known.topics.iter().eq(&topics)) {
            return false;
        }
        let resolved = ResolvedRegex {
            topics,
            version: i64::try_from(around.image.index.get()).unwrap_or(i64::MAX),
            resolved_at: around.at.wall_ms,
        };
        let key = RegexKey { group: Arc::clone(&self.name), expression: regex };
        self.put(GroupRecord::Regex(key, Some(resolved)), effects);
        true
    }

    pub(super) fn forget_regex_if_unused(&mut self, regex: &Arc<str>, effects: &mut Effects) {
        if self.state.regexes.contains_key(regex) && self.state.count_with_regex(regex) == 0 {
            self.put(self.regex_tombstone(regex), effects);
        }
    }

    pub(super) fn regex_tombstone(&self, regex: &Arc<str>) -> GroupRecord {
        let key = RegexKey { group: Arc::clone(&self.name), expression: Arc::clone(regex) };
        GroupRecord::Regex(key, None)
    }

    /// Lets the group epoch rise if `is_forced`, or if the topics that it subscribes to are not what
    /// they were.
    pub(super) fn refresh_epoch(
        &mut self,
        is_forced: bool,
        around: Surroundings<'_>,
        effects: &mut Effects,
    ) {
        if !is_forced && self.checked == Some(around.image.index) {
            return;
        }
        self.checked = Some(around.image.index);
        let metadata_hash = self.hash_of_topics(around.image);
        if is_forced || metadata_hash != self.state.metadata_hash() {
            let epoch = self.state.epoch().saturating_add(1);
            let value = GroupEpoch { epoch, metadata_hash };
            self.put(GroupRecord::ConsumerGroup(Arc::clone(&self.name), Some(value)), effects);
        }
    }

    /// Over the ids and partition counts of those subscribed topics that exist; 0 if there are none.
    pub(super) fn hash_of_topics(&self, image: &Image) -> i64 {
        // FNV-1a, written down here since the log keeps what it gives.
        const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0000_0100_0000_01b3;
        let mut hash = BASIS;
        let topics = self.state.topics().filter_map(|name| image.topics.get(&**name));
        for topic in topics {
            let count = topic.partitions.len().to_be_bytes();
            for byte in topic.id.get().as_bytes().iter().chain(&count) {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
            }
        }
        if hash == BASIS { 0 } else { i64::from_be_bytes(hash.to_be_bytes()) }
    }

    /// Ids of the topics that a member wants and that exist.
    pub(super) fn topic_ids_of(&self, member: &Member, image: &Image) -> BTreeSet<Uuid> {
        let topics = self.state.topics_of(member).filter_map(|name| image.topics.get(&**name));
        topics.map(|topic| topic.id.get()).collect()
    }
}
