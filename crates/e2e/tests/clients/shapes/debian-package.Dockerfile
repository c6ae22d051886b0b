FROM debian
COPY hello.deb /tmp/
RUN dpkg -i /tmp/hello.deb && rm /tmp/hello.deb && rm -f /var/log/dpkg.log /var/log/alternatives.log
ENTRYPOINT ["/usr/bin/hello"]
