#!/bin/bash
set -e
export MASTER_VIP=10.0.0.10
NODES="10.0.0.11 10.0.0.12"
cat > /etc/keepalived/keepalived.conf <<EOF
vrrp_instance VI_1 {
    state MASTER
    interface ${IFACE:-eth0}
    virtual_ipaddress { ${MASTER_VIP}/24 }
}
EOF
for node in $NODES; do scp -r /etc/kubernetes/pki root@"$node":/etc/kubernetes/; done
kubeadm init --apiserver-advertise-address="$MASTER_VIP" \
  --pod-network-cidr=10.244.0.0/16
