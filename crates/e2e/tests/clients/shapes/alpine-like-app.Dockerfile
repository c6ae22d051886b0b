FROM busybox
WORKDIR /app
COPY package.json package-lock.json ./
RUN sed -n 's/.*"name": "\(.*\)".*/\1/p' package.json > installed && mkdir node_modules && touch node_modules/left-pad
COPY . .
ENV NODE_ENV=production PORT=3000
EXPOSE 3000
USER 1000:1000
CMD ["sh", "server.sh"]
