#!/usr/bin/env bash
# Usage: scripts/test-slurm.sh SAELAB : a harvest by a job array of 8 and a training grid by one of 6 on a real Slurm on this machine.
# One task of each is killed with SIGKILL, one of each is requeued while it runs; store and autoencoders must have the bytes that one
# process makes. Installs slurm-wlm and munge with apt-get where they are missing (as root); its daemons, sockets and files are its own,
# in a temporary folder, and end with it.
set -euo pipefail
cd "$(dirname "$0")/.."
saelab=$(realpath "$1")
config=deploy/slurm

fail() { echo "error: $*" >&2; exit 1; }
say() { printf '%3d s  %s\n' "$SECONDS" "$*"; }

[ "$(id -u)" = 0 ] || fail "Slurm's daemons start jobs of other users, so this test needs root"
if ! command -v slurmctld slurmd munged sbatch > /dev/null; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends slurm-wlm munge > /dev/null
fi

work=$(mktemp -d)
daemons=()
finish() {
    status=$?
    [ $status = 0 ] || { tail -n 20 "$work"/run/logs/* "$work"/slurmctld.log 2> /dev/null || true; }
    scancel --me 2> /dev/null || true
    for daemon in "${daemons[@]}"; do kill "$daemon" 2> /dev/null || true; done
    for daemon in "${daemons[@]}"; do wait "$daemon" 2> /dev/null || true; done
    rm -rf "$work"
}
trap finish EXIT

# A cluster of this one machine. It claims more cores than it may have, so that several tasks run at once.
host=$(hostname -s)
memory=$(awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo)
dd if=/dev/urandom of="$work/munge.key" bs=128 count=1 status=none
chmod 600 "$work/munge.key"
cat > "$work/slurm.conf" <<CONF
ClusterName=saelab
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmctldPort=16817
SlurmdPort=16818
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$work/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,batch_sched_delay=1
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
MpiDefault=none
ReturnToService=2
KillWait=2
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 RealMemory=$memory State=UNKNOWN
PartitionName=test Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF=$work/slurm.conf
munged --foreground --force --key-file="$work/munge.key" --socket="$work/munge.socket" --pid-file="$work/munged.pid" \
    --seed-file="$work/munged.seed" --log-file="$work/munged.log" 2> /dev/null & daemons+=($!)
for _ in $(seq 50); do [ -S "$work/munge.socket" ] && break; sleep 0.1; done
mkdir "$work/state" "$work/spool"
slurmctld -c -D > /dev/null 2>&1 & daemons+=($!)
slurmd -D > /dev/null 2>&1 & daemons+=($!)
for _ in $(seq 100); do [ "$(sinfo -h -o %T 2> /dev/null)" = idle ] && break; sleep 0.2; done
[ "$(sinfo -h -o %T)" = idle ] || fail "Slurm did not start: $(tail -n 3 "$work/slurmctld.log" "$work/slurmd.log")"
say "$(sinfo --version) is up"

# What one process makes.
"$saelab" harvest $config/harvest.toml --out "$work/one/activations" 2> /dev/null
"$saelab" train $config/train.toml --run "$work/one" 2> /dev/null
say "one process has made $(find "$work/one/activations" -name '*.parquet' | wc -l) files and $(ls "$work/one/sae" | wc -l) autoencoders"

run=$work/run
"$saelab" submit $config/harvest.toml --run "$run" --array 8 --train $config/train.toml --train-array 6 --cores 1 --submit > "$work/jobs"
cat "$work/jobs"
job() { sed -n "s/^$1: job \([0-9]*\),.*/\1/p" "$work/jobs"; }
harvest=$(job harvest) train=$(job train)
[ -n "$harvest" ] && [ -n "$train" ] || fail "no job numbers in: $(cat "$work/jobs")"
[ "$(squeue -h -j "$train" -o %T | sort -u)" = PENDING ] || fail "the training does not wait for the harvest"

# The process that has claimed a unit (from 0), once its worker runs.
claimant() { # stage unit
    for _ in $(seq 1200); do
        cat "$run"/$3.work/"$1"-*/0000"$2".claim 2> /dev/null | sed -n 's/.*"pid":\([0-9]*\),.*/\1/p' | grep . && return
        sleep 0.05
    done
    fail "nobody claims unit $2 of $1"
}
# Slurm lets a requeued task wait for two minutes; here it may begin at once.
at_once() { # job_task
    for _ in $(seq 100); do
        scontrol -o show job "$1" | grep -q 'JobState=PENDING' && break
        sleep 0.1
    done
    scontrol update "JobId=$1" StartTime=now || fail "task $1 is not in the queue again"
}
pid=$(claimant harvest 2 activations/)
kill -KILL "$pid"
say "killed process $pid, which harvested part 3"
at_once "${harvest}_3"
claimant harvest 5 activations/ > /dev/null
scontrol requeue "${harvest}_6"
say "requeued task 6 of the harvest"
at_once "${harvest}_6"

# A training that has a checkpoint goes on from it.
for _ in $(seq 3000); do ls "$run"/checkpoints/*/step-* > /dev/null 2>&1 && break; sleep 0.1; done
ls "$run"/checkpoints/*/step-* > /dev/null || fail "no training wrote a checkpoint"
[ -e "$run/activations/manifest.json" ] || fail "the training began before the store was whole"
claims=$(ls "$run"/.work/train-*/*.claim | sed 's/.*\([0-9]\)\.claim/\1/')
victim=$(echo "$claims" | head -n 1) other=$(echo "$claims" | tail -n 1)
pid=$(claimant train "$victim" "")
kill -KILL "$pid"
say "killed process $pid, which trained autoencoder $((victim + 1)) of 6"
at_once "${train}_$((victim + 1))"
scontrol requeue "${train}_$((other + 1))"
say "requeued task $((other + 1)) of the training"
at_once "${train}_$((other + 1))"
"$saelab" status "$run"

for _ in $(seq 600); do [ -z "$(squeue -h)" ] && break; sleep 1; done
[ -z "$(squeue -h)" ] || fail "jobs are left: $(squeue -h)"
say "all jobs have ended"
states=$(scontrol -o show job | sed 's/.*JobState=\([A-Z]*\).*/\1/' | sort | uniq -c | xargs)
[ "$states" = "14 COMPLETED" ] || fail "states of the tasks: $states"
restarted=$(scontrol -o show job | grep -c -v 'Restarts=0 ')
[ "$restarted" = 4 ] || fail "$restarted tasks were started again instead of 4"

diff -r --exclude=.work "$work/one/activations" "$run/activations" || fail "the stores differ"
diff -r --exclude=metrics.jsonl --exclude='events*' "$work/one/sae" "$run/sae" || fail "the autoencoders differ"
! ls "$run"/checkpoints/*/step-* > /dev/null 2>&1 || fail "a checkpoint is left"
say "store and autoencoders have the bytes that one process made"
"$saelab" status "$run"
"$saelab" status "$run" --json > "$work/status.json"
python3 - "$work/status.json" <<'PY'
import json, sys
found = json.load(open(sys.argv[1]))
stages = {stage["stage"]: stage["units"] for stage in found["stages"]}
assert [len(stages[name]) for name in ("harvest", "train")] == [8, 6], stages
assert all(unit["state"] == "done" for units in stages.values() for unit in units), stages
again = {name: sum(unit["attempts"] > 1 for unit in units) for name, units in stages.items()}
assert again["harvest"] >= 2 and again["train"] >= 1, again
print(f"attempts beyond the first: {again}")
PY
say "done"
