FROM busybox
ADD package.json /one/
ADD src /two
ADD --chown=3:4 server.sh /three/
