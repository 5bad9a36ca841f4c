//! Certificates and keys: what the topology needs, the vault that holds it, kubeconfigs.
