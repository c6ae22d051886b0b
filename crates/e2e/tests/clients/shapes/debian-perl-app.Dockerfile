FROM debian AS test
WORKDIR /app
COPY app.pl .
RUN perl -c app.pl && perl app.pl > expected
FROM debian
RUN groupadd -r app -g 999 && useradd -r -u 999 -g app -d /app -s /usr/sbin/nologin app && rm -f /var/log/lastlog /var/log/faillog
COPY --from=test --chown=app:app /app /app
WORKDIR /app
USER app
CMD ["perl", "app.pl"]
