//! One file per verb.

pub mod agent;
pub mod ask;
pub mod backup;
pub mod bundle;
pub mod control;
pub mod extract;
pub mod footprint;
pub mod help;
pub mod ingest;
pub mod install;
pub mod license;
pub mod logs;
pub mod models;
pub mod plan;
pub mod preflight;
pub mod probe;
pub mod release;
pub mod search;
pub mod serve;
pub mod status;
pub mod train;
pub mod uninstall;
pub mod versions;
