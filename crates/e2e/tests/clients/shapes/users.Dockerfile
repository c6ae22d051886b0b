FROM busybox
RUN echo 'app:x:2001:2000::/home/app:/bin/sh' >> /etc/passwd && echo 'app:x:2000:' >> /etc/group && mkdir /home/app && chown app:app /home/app
USER app
WORKDIR /home/app
RUN id -u > uid && id -g > gid
USER root
RUN chmod 700 /home/app
USER app:app
