//! Cluster, node, PKI and overlays become a tree.
