//! CLUSTER NODES lines. Skeleton.
