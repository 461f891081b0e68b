//! The engine from outside: many threads, demotions, moves, snapshots, replicas.

#[cfg(test)]
mod access;
#[cfg(test)]
mod collections;
mod commands;
#[cfg(test)]
mod databases;
#[cfg(test)]
mod durability;
#[cfg(test)]
mod functions;
#[cfg(test)]
mod gates;
#[cfg(test)]
mod loading;
#[cfg(test)]
mod migration;
#[cfg(test)]
mod model;
#[cfg(test)]
mod parking;
#[cfg(test)]
mod replication;
#[cfg(test)]
mod routing;
#[cfg(test)]
mod scanning;
#[cfg(test)]
mod snapshots;
#[cfg(test)]
mod stress;
#[cfg(test)]
mod support;
#[cfg(test)]
mod transactions;
