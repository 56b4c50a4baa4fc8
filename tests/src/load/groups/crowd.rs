//! Many members in many groups, joined and with assignments, ready for what a scenario does with them.
//!
//! A broker may answer a connection's requests in order only, and answers a join when all members of the
//! group have joined: members of one group therefore never share a connection. Groups form while the
//! broker waits for their first members (`group.initial.rebalance.delay.ms`), all members at once.

use crate::codes;
use crate::deadline::eventually;
use crate::group_calls::{
    FIND_COORDINATOR, HEARTBEAT, JOIN, LEAVE, REBALANCE_TIMEOUT, SYNC, Terms,
};
use crate::load::frames::Frame;
use crate::load::link::Link;
use crate::process::raise_descriptors_max;
use crate::wire::{Connection, text};
use anyhow::{Context as _, Result, ensure};
use kafka_protocol::messages::{
    FindCoordinatorRequest, GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse,
    SyncGroupRequest,
};
use std::iter::once;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

/// Room for the answers of a connection; a leader's grows.
const INPUT_BYTES: usize = 1 << 10;

/// Files that this program needs beside the connections.
const DESCRIPTORS_BESIDE: usize = 100;

/// Who comes together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan<'a> {
    /// The broker.
    pub(super) broker: SocketAddr,
    /// What all subscribe to; the groups are named after it.
    pub(super) topic: &'a str,
    /// Its partitions, which the members of each group get in turn.
    pub(super) partitions: i32,
    /// Groups of the same size.
    pub(super) groups: usize,
    /// Members of all groups together.
    pub(super) members: usize,
    /// Connections that they share, at most.
    pub(super) connections: usize,
    /// How long a member may be silent.
    pub(super) session: Duration,
}

/// Members with their connections.
#[derive(Debug)]
pub(super) struct Crowd {
    /// The connections.
    pub(super) links: Vec<Link>,
    /// The members, group by group.
    pub(super) members: Vec<Member>,
    terms: Vec<Terms>,
    group_size: usize,
}

/// One member.
#[derive(Debug, Clone, Default)]
pub(super) struct Member {
    /// What the broker calls it.
    pub(super) id: String,
    /// Its connection.
    pub(super) lane: usize,
    /// Its partition.
    pub(super) partition: i32,
    /// The generation of its last join.
    pub(super) generation_id: i32,
    /// Whether it assigns.
    pub(super) is_leader: bool,
}

impl Crowd {
    /// Connects and joins.
    ///
    /// # Errors
    /// The broker cannot be reached, refuses a member, or begins a group without all of its members.
    pub(super) fn gather(plan: &Plan<'_>) -> Result<Self> {
        let group_size = plan.members / plan.groups.max(1);
        ensure!(group_size * plan.groups == plan.members, "members do not divide into the groups");
        ensure!(plan.connections >= group_size, "members of a group cannot share a connection");
        let lanes = (plan.connections.min(plan.members) / group_size) * group_size;
        raise_descriptors_max(lanes + DESCRIPTORS_BESIDE);
        let terms = (0..plan.groups).map(|number| Terms {
            group: format!("{}-group-{number}", plan.topic),
            topic: plan.topic.to_owned(),
            session: plan.session,
            rebalance: REBALANCE_TIMEOUT,
        });
        let terms: Vec<_> = terms.collect();
        let coordinator =
            find_coordinator(plan.broker, terms.iter().map(|terms| terms.group.as_str()))?;
        let links: Result<_> = (0..lanes).map(|_| Link::open(coordinator, INPUT_BYTES)).collect();
        let members = (0..plan.members).map(|place| Member {
            lane: place % lanes,
            partition: i32::try_from(place % group_size).unwrap_or(0) % plan.partitions.max(1),
            ..Member::default()
        });
        let members = members.collect();
        let mut crowd = Self { links: links?, members, terms, group_size };
        for first in (0..plan.members).step_by(lanes) {
            crowd.join(first..(first + lanes).min(plan.members))?;
        }
        Ok(crowd)
    }

    /// What a member's group tells the broker.
    pub(super) fn terms(&self, place: usize) -> &Terms {
        &self.terms[place / self.group_size]
    }

    /// All members of a member's group.
    pub(super) fn group(&self, place: usize) -> &[Member] {
        let first = place / self.group_size * self.group_size;
        &self.members[first..first + self.group_size]
    }

    /// Joins members of whole groups, each on a connection of its own.
    fn join(&mut self, places: Range<usize>) -> Result<()> {
        self.send_joins(places.clone())?;
        for place in places.clone() {
            let answer = self.receive_join(place)?;
            ensure!(answer.error_code == codes::MEMBER_ID_REQUIRED, "join: {}", answer.error_code);
            self.members[place].id = answer.member_id.as_str().to_owned();
        }
        self.send_joins(places.clone())?;
        for place in places.clone() {
            let answer = self.receive_join(place)?;
            ensure!(answer.error_code == codes::NONE, "join: error {}", answer.error_code);
            let is_leader = answer.leader == answer.member_id;
            ensure!(
                !is_leader || answer.members.len() == self.group_size,
                "the broker began with {} of {} members: group.initial.rebalance.delay.ms is too short",
                answer.members.len(),
                self.group_size
            );
            let member = &mut self.members[place];
            (member.generation_id, member.is_leader) = (answer.generation_id, is_leader);
        }
        for place in places.clone() {
            let member = &self.members[place];
            let request = self.sync_request(place, member.generation_id)?;
            self.links[member.lane].send_all(once(&Frame::new(SYNC, &request)?))?;
        }
        for place in places {
            let link = &mut self.links[self.members[place].lane];
            let code = link.receive_decoded::<SyncGroupRequest>(SYNC)?.error_code;
            ensure!(code == codes::NONE, "sync: error {code}");
        }
        Ok(())
    }

    /// A member's SyncGroup, with all assignments if it leads.
    pub(super) fn sync_request(
        &self,
        place: usize,
        generation_id: i32,
    ) -> Result<SyncGroupRequest> {
        let (member, terms) = (&self.members[place], self.terms(place));
        let led = if member.is_leader { self.group(place) } else { &[] };
        let assignments = led.iter().map(|one| terms.assignment(&one.id, vec![one.partition]));
        Ok(terms.sync(&member.id, generation_id, assignments.collect::<Result<_>>()?))
    }

    fn send_joins(&mut self, places: Range<usize>) -> Result<()> {
        for place in places {
            let member = &self.members[place];
            let request = self.terms(place).join(&member.id, 0)?;
            self.links[member.lane].send_all(once(&Frame::new(JOIN, &request)?))?;
        }
        Ok(())
    }

    fn receive_join(&mut self, place: usize) -> Result<JoinGroupResponse> {
        self.links[self.members[place].lane].receive_decoded::<JoinGroupRequest>(JOIN)
    }

    /// Lets all members go, so that none has to be found dead while something else is measured.
    ///
    /// # Errors
    /// The broker does not answer.
    pub(super) fn leave(mut self) -> Result<()> {
        for (number, terms) in self.terms.iter().enumerate() {
            let first = number * self.group_size;
            let group = &self.members[first..first + self.group_size];
            let request = terms.leave(group.iter().map(|member| member.id.as_str()));
            let answer = self.links[self.members[first].lane].call(LEAVE, &request)?;
            ensure!(answer.error_code == codes::NONE, "leave: error {}", answer.error_code);
        }
        Ok(())
    }
}

/// Where the coordinator of these groups is, once it is ready for all of them: a broker may have to make
/// its topic first, and to load its partitions.
///
/// # Errors
/// It says something that is no address.
pub(super) fn find_coordinator<'a>(
    broker: SocketAddr,
    groups: impl Iterator<Item = &'a str> + Clone,
) -> Result<SocketAddr> {
    let keys = groups.clone().take(1).map(text).collect();
    let request = FindCoordinatorRequest::default().with_coordinator_keys(keys);
    let mut connection = Connection::open(broker);
    let found = eventually("a coordinator is available", || {
        let found = connection.call(FIND_COORDINATOR, &request).coordinators.remove(0);
        (found.error_code == codes::NONE).then_some(found)
    });
    for group in groups {
        let request = HeartbeatRequest::default().with_group_id(GroupId(text(group)));
        eventually("the coordinator knows its groups", || {
            let code = connection.call(HEARTBEAT, &request).error_code;
            (code == codes::UNKNOWN_MEMBER_ID).then_some(())
        });
    }
    let address = format!("{}:{}", found.host, found.port);
    address.parse().with_context(|| format!("a coordinator at {address}"))
}
