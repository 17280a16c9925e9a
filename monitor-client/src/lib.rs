//! The answers of a NATS broker's monitoring port (8222) as types, and a small blocking client that
//! fetches them.
//!
//! The broker fills these types and serialises them; the collectd plugin, `check_nats`, `midge top`
//! and the tests read them. Field names and types follow nats-server 2.15 (`server/monitor.go`);
//! fields that only midge has are optional, so that answers of a real nats-server can be parsed as
//! well. There is no async code: the readers are small blocking programs.

pub mod access;
pub mod accountz;
pub mod accstatz;
pub mod client;
pub mod clusterz;
pub mod connz;
pub mod control;
pub mod error;
pub mod eventsz;
pub mod explainz;
pub mod federationz;
pub mod files;
pub mod gatewayz;
pub mod healthz;
pub mod inspect;
pub mod jsz;
pub mod latencyz;
pub mod leafz;
mod lookup;
pub mod memz;
pub mod nkey;
pub mod nodesz;
mod open;
pub mod pathz;
mod place;
pub mod routez;
pub mod secret;
mod select;
pub mod slowz;
pub mod subsz;
pub mod text;
pub mod tls;
pub mod topz;
mod transport;
pub mod varz;

pub use access::{Access, DEFAULT_SOCKET, DEFAULT_URL, OptionNames, Tls, url_of};
pub use accountz::{
    AccountDetail, AccountExport, AccountImport, AccountLatency, Accountz, MappingDestination,
    SamplingRate, SublistStats,
};
pub use accstatz::{AccountStat, Accstatz, DataStats, LinkStats};
pub use client::Client;
pub use clusterz::{ClusterMember, Clusterz, Disagreement, PeerRoute, SrvRecord};
pub use connz::{ConnInfo, Connz, SubDetail, TlsPeerCert};
pub use error::{Error, Phase};
pub use eventsz::{EventGap, EventInfo, Eventsz};
pub use explainz::{Explainz, Finding};
pub use federationz::{
    FederationNodes, FederationRoundTrips, FederationSilentNode, FederationTraffic,
    FederationUpstream, Federationz,
};
pub use gatewayz::Gatewayz;
pub use healthz::{HealthError, Healthz};
pub use inspect::{Bounds, Field, Found, Kind};
pub use jsz::{Jsz, JszApi, JszConfig};
pub use latencyz::{
    Bucket, Latency, Latencyz, MeasuredService, NamedLatency, RecentLatency, SlowSubscription,
};
pub use leafz::{LeafInfo, LeafRemote, Leafz};
pub use memz::{Ceiling, MemoryCause, MemoryHolder, Memz};
pub use nodesz::{NodeInfo, NodesMember, Nodesz};
pub use pathz::{PathMember, PathPeer, PathQueue, PathSubscription, PathWay, Pathz};
pub use routez::{RouteInfo, Routez};
pub use secret::Secret;
pub use slowz::{Incident, PendingSample, Producer, Slowz, StalledPublisher, SubjectBytes};
pub use subsz::Subsz;
pub use topz::{Load, SubjectLoad, Topz};
pub use varz::{
    DiskIoWaitStats, FederationVarz, Figure, FigureUnit, HubsVarz, KindCounts, LoginsVarz,
    NodesVarz, TlsGap, TlsVarz, Varz, figure,
};
