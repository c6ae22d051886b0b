FROM busybox
RUN --mount=type=tmpfs,target=/scratch echo gone > /scratch/x && cat /scratch/x > /kept
