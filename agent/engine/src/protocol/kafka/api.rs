//! All requests that Kafka knows (protocol guide, "Api Keys"; versions as of Kafka 4.1, and the older ones of 3.9).

use ErrorPlace::{
    Coordinators, Elements, First, Named, Offsets, Partitions, PartitionsOrThrottled, Throttled, Unknown,
};

/// A version that is never reached.
const NEVER: i16 = i16::MAX;

pub(super) const PRODUCE: i16 = 0;
pub(super) const FETCH: i16 = 1;
pub(super) const LIST_OFFSETS: i16 = 2;
pub(super) const METADATA: i16 = 3;
/// The first and the last that brokers of before Kafka 4 sent to each other.
pub(super) const LEADER_AND_ISR: i16 = 4;
pub(super) const CONTROLLED_SHUTDOWN: i16 = 7;
pub(super) const OFFSET_COMMIT: i16 = 8;
pub(super) const OFFSET_FETCH: i16 = 9;
pub(super) const JOIN_GROUP: i16 = 11;
pub(super) const HEARTBEAT: i16 = 12;
pub(super) const LEAVE_GROUP: i16 = 13;
pub(super) const SYNC_GROUP: i16 = 14;
pub(super) const SASL_HANDSHAKE: i16 = 17;
pub(super) const API_VERSIONS: i16 = 18;
pub(super) const CREATE_TOPICS: i16 = 19;
pub(super) const TXN_OFFSET_COMMIT: i16 = 28;
pub(super) const FETCH_SNAPSHOT: i16 = 59;
pub(super) const BROKER_HEARTBEAT: i16 = 63;
pub(super) const CONSUMER_GROUP_HEARTBEAT: i16 = 68;
pub(super) const GET_TELEMETRY_SUBSCRIPTIONS: i16 = 71;
pub(super) const PUSH_TELEMETRY: i16 = 72;
pub(super) const SHARE_GROUP_HEARTBEAT: i16 = 76;
pub(super) const SHARE_FETCH: i16 = 78;
pub(super) const SHARE_ACKNOWLEDGE: i16 = 79;
pub(super) const STREAMS_GROUP_HEARTBEAT: i16 = 88;

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Api {
    /// Its name in the protocol guide.
    pub(super) name: &'static str,
    /// The newest version whose form is known.
    pub(super) newest: i16,
    /// The first version with compact fields and tagged ones (KIP-482).
    flexible: i16,
    /// Where responses have their error codes.
    pub(super) error: ErrorPlace,
}

/// Where a response has its error codes. Numbers are versions from which on a field is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorPlace {
    /// Not looked for.
    Unknown,
    /// Right at the beginning.
    First,
    /// After `throttle_time_ms`.
    Throttled(i16),
    /// One for each element of a list, after its name and its id. The first counts.
    Named { throttle: i16, id: i16 },
    /// One for each element of a list, at its beginning. The first counts.
    Elements(i16),
    /// One for each partition of each topic, whose id takes the place of its name.
    Partitions { throttle: i16, id: i16 },
    /// One for each partition; from this version on one for all.
    PartitionsOrThrottled(i16),
    /// One for each partition, before its offsets.
    Offsets,
    /// One, or one for each coordinator.
    Coordinators,
}

const fn api(name: &'static str, newest: i16, flexible: i16, error: ErrorPlace) -> Api {
    Api { name, newest, flexible, error }
}

impl Api {
    /// Returns the kind of request with this key.
    pub(super) fn of_key(key: i16) -> Option<&'static Self> {
        APIS.get(usize::try_from(key).ok()?)
    }

    /// Returns whether this version has compact and tagged fields.
    pub(super) fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible
    }
}

/// By key.
static APIS: [Api; 93] = [
    api("Produce", 13, 9, Unknown),
    api("Fetch", 18, 12, Unknown),
    api("ListOffsets", 10, 6, Offsets),
    api("Metadata", 13, 9, Unknown),
    api("LeaderAndIsr", 7, 4, First),
    api("StopReplica", 4, 2, First),
    api("UpdateMetadata", 8, 6, First),
    api("ControlledShutdown", 3, 3, First),
    api("OffsetCommit", 10, 8, Partitions { throttle: 3, id: 10 }),
    api("OffsetFetch", 10, 6, Unknown),
    api("FindCoordinator", 6, 3, Coordinators),
    api("JoinGroup", 9, 6, Throttled(2)),
    api("Heartbeat", 4, 4, Throttled(1)),
    api("LeaveGroup", 5, 4, Throttled(1)),
    api("SyncGroup", 5, 4, Throttled(1)),
    api("DescribeGroups", 6, 5, Elements(1)),
    api("ListGroups", 5, 3, Throttled(1)),
    api("SaslHandshake", 1, NEVER, First),
    api("ApiVersions", 4, 3, First),
    api("CreateTopics", 7, 5, Named { throttle: 2, id: 7 }),
    api("DeleteTopics", 6, 4, Named { throttle: 1, id: 6 }),
    api("DeleteRecords", 2, 2, Unknown),
    api("InitProducerId", 6, 2, Throttled(0)),
    api("OffsetForLeaderEpoch", 4, 4, Unknown),
    api("AddPartitionsToTxn", 5, 3, PartitionsOrThrottled(4)),
    api("AddOffsetsToTxn", 4, 3, Throttled(0)),
    api("EndTxn", 5, 3, Throttled(0)),
    api("WriteTxnMarkers", 1, 1, Unknown),
    api("TxnOffsetCommit", 5, 3, Partitions { throttle: 0, id: NEVER }),
    api("DescribeAcls", 3, 2, Throttled(0)),
    api("CreateAcls", 3, 2, Elements(0)),
    api("DeleteAcls", 3, 2, Elements(0)),
    api("DescribeConfigs", 4, 4, Elements(0)),
    api("AlterConfigs", 2, 2, Elements(0)),
    api("AlterReplicaLogDirs", 2, 2, Unknown),
    api("DescribeLogDirs", 4, 2, Unknown),
    api("SaslAuthenticate", 2, 2, First),
    api("CreatePartitions", 3, 2, Named { throttle: 0, id: NEVER }),
    api("CreateDelegationToken", 3, 2, First),
    api("RenewDelegationToken", 2, 2, First),
    api("ExpireDelegationToken", 2, 2, First),
    api("DescribeDelegationToken", 3, 2, First),
    api("DeleteGroups", 2, 2, Named { throttle: 0, id: NEVER }),
    api("ElectLeaders", 2, 2, Unknown),
    api("IncrementalAlterConfigs", 1, 1, Elements(0)),
    api("AlterPartitionReassignments", 1, 0, Unknown),
    api("ListPartitionReassignments", 0, 0, Throttled(0)),
    api("OffsetDelete", 0, NEVER, First),
    api("DescribeClientQuotas", 1, 1, Throttled(0)),
    api("AlterClientQuotas", 1, 1, Elements(0)),
    api("DescribeUserScramCredentials", 0, 0, Throttled(0)),
    api("AlterUserScramCredentials", 0, 0, Named { throttle: 0, id: NEVER }),
    api("Vote", 2, 0, First),
    api("BeginQuorumEpoch", 1, 1, First),
    api("EndQuorumEpoch", 1, 1, First),
    api("DescribeQuorum", 2, 0, First),
    api("AlterPartition", 3, 0, Throttled(0)),
    api("UpdateFeatures", 2, 0, Throttled(0)),
    api("Envelope", 0, 0, Unknown),
    api("FetchSnapshot", 1, 0, Throttled(0)),
    api("DescribeCluster", 2, 0, Throttled(0)),
    api("DescribeProducers", 0, 0, Unknown),
    api("BrokerRegistration", 4, 0, Throttled(0)),
    api("BrokerHeartbeat", 1, 0, Throttled(0)),
    api("UnregisterBroker", 0, 0, Throttled(0)),
    api("DescribeTransactions", 0, 0, Elements(0)),
    api("ListTransactions", 2, 0, Throttled(0)),
    api("AllocateProducerIds", 0, 0, Throttled(0)),
    api("ConsumerGroupHeartbeat", 1, 0, Throttled(0)),
    api("ConsumerGroupDescribe", 1, 0, Elements(0)),
    api("ControllerRegistration", 0, 0, Throttled(0)),
    api("GetTelemetrySubscriptions", 0, 0, Throttled(0)),
    api("PushTelemetry", 0, 0, Throttled(0)),
    api("AssignReplicasToDirs", 0, 0, Throttled(0)),
    api("ListConfigResources", 1, 0, Throttled(0)),
    api("DescribeTopicPartitions", 0, 0, Elements(0)),
    api("ShareGroupHeartbeat", 1, 0, Throttled(0)),
    api("ShareGroupDescribe", 1, 0, Elements(0)),
    api("ShareFetch", 1, 0, Unknown),
    api("ShareAcknowledge", 1, 0, Throttled(0)),
    api("AddRaftVoter", 0, 0, Throttled(0)),
    api("RemoveRaftVoter", 0, 0, Throttled(0)),
    api("UpdateRaftVoter", 0, 0, Throttled(0)),
    api("InitializeShareGroupState", 0, 0, Unknown),
    api("ReadShareGroupState", 0, 0, Unknown),
    api("WriteShareGroupState", 0, 0, Unknown),
    api("DeleteShareGroupState", 0, 0, Unknown),
    api("ReadShareGroupStateSummary", 0, 0, Unknown),
    api("StreamsGroupHeartbeat", 0, 0, Throttled(0)),
    api("StreamsGroupDescribe", 0, 0, Elements(0)),
    api("DescribeShareGroupOffsets", 0, 0, Unknown),
    api("AlterShareGroupOffsets", 0, 0, Throttled(0)),
    api("DeleteShareGroupOffsets", 0, 0, Throttled(0)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_places_in_the_table() {
        for (key, name) in [
            (PRODUCE, "Produce"),
            (FETCH, "Fetch"),
            (METADATA, "Metadata"),
            (LEADER_AND_ISR, "LeaderAndIsr"),
            (CONTROLLED_SHUTDOWN, "ControlledShutdown"),
            (OFFSET_COMMIT, "OffsetCommit"),
            (OFFSET_FETCH, "OffsetFetch"),
            (JOIN_GROUP, "JoinGroup"),
            (HEARTBEAT, "Heartbeat"),
            (LEAVE_GROUP, "LeaveGroup"),
            (SYNC_GROUP, "SyncGroup"),
            (SASL_HANDSHAKE, "SaslHandshake"),
            (API_VERSIONS, "ApiVersions"),
            (CREATE_TOPICS, "CreateTopics"),
            (TXN_OFFSET_COMMIT, "TxnOffsetCommit"),
            (FETCH_SNAPSHOT, "FetchSnapshot"),
            (BROKER_HEARTBEAT, "BrokerHeartbeat"),
            (CONSUMER_GROUP_HEARTBEAT, "ConsumerGroupHeartbeat"),
            (GET_TELEMETRY_SUBSCRIPTIONS, "GetTelemetrySubscriptions"),
            (PUSH_TELEMETRY, "PushTelemetry"),
            (SHARE_GROUP_HEARTBEAT, "ShareGroupHeartbeat"),
            (SHARE_FETCH, "ShareFetch"),
            (SHARE_ACKNOWLEDGE, "ShareAcknowledge"),
            (STREAMS_GROUP_HEARTBEAT, "StreamsGroupHeartbeat"),
        ] {
            assert_eq!(Api::of_key(key).map(|api| api.name), Some(name));
        }
        assert_eq!(Api::of_key(-1), None);
        assert_eq!(Api::of_key(93), None);
    }
}
