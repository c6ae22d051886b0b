FROM debian
RUN rm -rf /usr/share/doc /usr/share/man && find / -xdev -name '*.pyc' -delete && echo clean > /etc/motd
ENV LANG=C.UTF-8
