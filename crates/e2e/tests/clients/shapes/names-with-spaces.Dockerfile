FROM busybox
COPY ["with space.txt", "/a b/"]
RUN mkdir "/c d" && echo x > "/c d/e f"
