FROM busybox
EXPOSE 80 443/tcp 53/udp
VOLUME /data ["/not-json"]
VOLUME ["/var/lib/app", "/logs"]
STOPSIGNAL SIGQUIT
