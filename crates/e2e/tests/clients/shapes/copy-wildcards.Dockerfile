FROM busybox
COPY *.json /json/
COPY src/*.c /c/
COPY src/d??p /deep/
COPY package.json requirements.txt server.sh /many/
