FROM busybox
COPY .env .config /conf/
COPY . /all/
RUN rm -r /all/.config
