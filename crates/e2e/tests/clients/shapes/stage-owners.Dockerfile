FROM debian AS make
RUN mkdir -p /d/e && echo x > /d/e/f && echo y > /d/g && ln -s f /d/e/l && chown -R 12:34 /d && chown -h 12:35 /d/e/l && chmod 4755 /d/g
FROM debian
RUN mkdir /kept /given
COPY --from=make /d/ /kept/
COPY --from=make /d/g /one
COPY --from=make --chown=5:6 /d/ /given/
