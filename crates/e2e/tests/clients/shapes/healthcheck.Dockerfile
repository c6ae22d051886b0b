FROM busybox
HEALTHCHECK --interval=30s --timeout=3s --start-period=5s --retries=2 CMD wget -q -O - http://localhost/ || exit 1
