//! The stories, told through the binary. Each has a `--root` of its own.

mod airgap;
mod audit;
mod backup;
mod bundle;
mod chaos;
mod corpus;
mod damaged;
mod docker;
mod foreign;
mod formats;
mod furnished;
mod handlers;
mod hostile;
mod isolation;
mod kill;
mod knowledge;
mod license;
mod product;
mod story;
mod support;
mod tidy;
mod update;
mod wizard;
