#!/bin/sh
# PID 1 of one cluster node: private mounts over the directories that corosync and Pacemaker write, then both daemons.
# Arguments: host name, state directory of the node, directory with our ResourceAgent and fence agent.
name=$1 state=$2 agents=$3
mount --make-rprivate /
hostname "$name"
for pair in run:/run shm:/dev/shm lib-corosync:/var/lib/corosync lib-pacemaker:/var/lib/pacemaker \
        etc-corosync:/etc/corosync log-corosync:/var/log/corosync log-pacemaker:/var/log/pacemaker; do
    mkdir -p "${pair#*:}"
    mount --bind "$state/${pair%%:*}" "${pair#*:}"
done
rm -rf /run/* /dev/shm/*
mkdir -p /run/lock /run/crm /run/resource-agents
chown hacluster:haclient /run/crm
chmod 750 /run/crm
# Both trees as they are, with ours on top: nothing is installed into the machine.
mount -t overlay overlay -o "lowerdir=$agents/ocf:/usr/lib/ocf/resource.d" /usr/lib/ocf/resource.d
mount -t overlay overlay -o "lowerdir=$agents/sbin:/usr/sbin" /usr/sbin
corosync -f &
for _ in $(seq 100); do corosync-cfgtool -s >/dev/null 2>&1 && break; sleep 0.2; done
PCMK_logfile=/var/log/pacemaker/pacemaker.log PCMK_logfacility=none pacemakerd -f &
while :; do wait -n 2>/dev/null || wait; sleep 1; done
