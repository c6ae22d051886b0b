FROM busybox
COPY links /links
RUN ln -s /links/target /absolute && ln -s links /relative && cat /links/to-target > /read
COPY package.json /relative/
