//! Commands one by one: replies against redis-server's, effects, and what must hold for any arguments.

mod any;
mod effects;
mod golden;
