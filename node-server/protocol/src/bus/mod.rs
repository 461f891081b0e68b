//! The cluster bus. Skeleton.
