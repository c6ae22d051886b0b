FROM busybox
COPY src /one
COPY src/ /two/
COPY src /three/
COPY src/. /four
COPY src/deep /five/deep
COPY package.json /six
COPY package.json /seven/
