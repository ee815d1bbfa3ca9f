//! Issuance against real servers: Pebble and knot.

mod basics;
mod faults_ca;
mod faults_dns;
mod faults_kill;
mod kill;
mod lab;
