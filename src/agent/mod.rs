//! What runs on the node.
