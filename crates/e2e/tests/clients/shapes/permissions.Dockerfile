FROM busybox
RUN mkdir -p /p && touch /p/a /p/b /p/c && chmod 4755 /p/a && chmod 2711 /p/b && chmod 1777 /p && chmod 000 /p/c
RUN mkdir /g && chmod g+s /g && chown 7:8 /g
