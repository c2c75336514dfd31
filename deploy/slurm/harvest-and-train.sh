#!/bin/bash
# Job arrays for Slurm, written by `saelab submit`; `bash` this file to submit them. `saelab status` tells how far they are.
set -euo pipefail
cd /shared/saelab
mkdir -p runs/cluster/logs

harvest=$(sbatch --parsable <<'JOB'
#!/bin/bash
#SBATCH --job-name=saelab-harvest
#SBATCH --array=1-8
#SBATCH --time=0-01:30:00
#SBATCH --mem=2000M
#SBATCH --cpus-per-task=4
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@90
#SBATCH --output="runs/cluster/logs/harvest-%A_%a.log"
#SBATCH --partition=cpu
again() {
    if [ "${SLURM_RESTART_COUNT:-0}" -lt 5 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
}
export RAYON_NUM_THREADS="$SLURM_CPUS_PER_TASK"
saelab harvest deploy/slurm/harvest.toml --out runs/cluster/activations --shard "$SLURM_ARRAY_TASK_ID"/8 &
task=$!
trap 'kill "$task"; wait "$task"; again; exit 1' USR1
status=0
wait "$task" || status=$?
if [ "$status" -gt 128 ]; then again; fi
exit "$status"
JOB
)
echo "harvest: job $harvest, 8 tasks"

train=$(sbatch --parsable --dependency=afterok:"$harvest" --kill-on-invalid-dep=yes <<'JOB'
#!/bin/bash
#SBATCH --job-name=saelab-train
#SBATCH --array=1-6
#SBATCH --time=0-01:30:00
#SBATCH --mem=2000M
#SBATCH --cpus-per-task=4
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@90
#SBATCH --output="runs/cluster/logs/train-%A_%a.log"
#SBATCH --partition=cpu
again() {
    if [ "${SLURM_RESTART_COUNT:-0}" -lt 5 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
}
export RAYON_NUM_THREADS="$SLURM_CPUS_PER_TASK"
[ -e runs/cluster/activations/manifest.json ] || saelab harvest deploy/slurm/harvest.toml --out runs/cluster/activations --shard 1/8
saelab train deploy/slurm/train.toml --run runs/cluster --shard "$SLURM_ARRAY_TASK_ID"/6 &
task=$!
trap 'kill "$task"; wait "$task"; again; exit 1' USR1
status=0
wait "$task" || status=$?
if [ "$status" -gt 128 ]; then again; fi
exit "$status"
JOB
)
echo "train: job $train, 6 tasks"
