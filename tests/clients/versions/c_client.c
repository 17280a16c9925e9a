/* Proves what a broker does for the C client.
 *
 * Usage: c_client PACKAGE VERSION, with URL, TLS_URL, VERIFYING_URL, CA, OTHER_CA, CERT and KEY in
 * the environment. Prints a line per feature; ends with 1 at the first that fails. "restart" on a
 * line of its own asks for the broker to be killed and started again, "restarted" is the answer.
 */

#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_MS 60000

static void check(natsStatus status, const char *what)
{
    if (status != NATS_OK) {
        fprintf(stderr, "%s: %s\n", what, natsStatus_GetText(status));
        exit(1);
    }
}

static void require(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "not so: %s\n", what);
        exit(1);
    }
}

static void proven(const char *feature)
{
    printf("%s: ok\n", feature);
    fflush(stdout);
}

/* `ca` and `own` may be missing: no TLS, no certificate of the client's own. */
static natsStatus try_connect(natsConnection **connection, const char *url, const char *ca, int own)
{
    natsOptions *options = NULL;
    natsStatus status;
    check(natsOptions_Create(&options), "options");
    check(natsOptions_SetURL(options, getenv(url)), "url");
    check(natsOptions_SetReconnectWait(options, 50), "wait");
    check(natsOptions_SetMaxReconnect(options, 1000), "attempts");
    if (ca != NULL) {
        check(natsOptions_SetSecure(options, true), "TLS");
        check(natsOptions_LoadCATrustedCertificates(options, getenv(ca)), "CA");
    }
    if (own)
        check(natsOptions_LoadCertificatesChain(options, getenv("CERT"), getenv("KEY")), "certificate");
    status = natsConnection_Connect(connection, options);
    natsOptions_Destroy(options);
    return status;
}

static natsConnection *connect_to(const char *url, const char *ca, int own)
{
    natsConnection *connection = NULL;
    check(try_connect(&connection, url, ca, own), "connect");
    return connection;
}

static natsSubscription *subscribe(natsConnection *connection, const char *subject, const char *queue)
{
    natsSubscription *subscription = NULL;
    if (queue == NULL)
        check(natsConnection_SubscribeSync(&subscription, connection, subject), "subscribe");
    else
        check(natsConnection_QueueSubscribeSync(&subscription, connection, subject, queue), "subscribe");
    check(natsConnection_Flush(connection), "flush");
    return subscription;
}

static natsMsg *next(natsSubscription *subscription)
{
    natsMsg *message = NULL;
    check(natsSubscription_NextMsg(&message, subscription, PATIENCE_MS), "next message");
    return message;
}

static void expect(natsSubscription *subscription, const char *text)
{
    natsMsg *message = next(subscription);
    require(strcmp(natsMsg_GetData(message), text) == 0, text);
    natsMsg_Destroy(message);
}

static void messages(natsConnection *client, natsConnection *other)
{
    natsSubscription *subscription = subscribe(client, "c.*", NULL);
    char text[16];
    for (int number = 0; number < 100; number++) {
        snprintf(text, sizeof text, "%d", number);
        check(natsConnection_PublishString(other, "c.a", text), "publish");
    }
    for (int number = 0; number < 100; number++) {
        snprintf(text, sizeof text, "%d", number);
        expect(subscription, text);
    }
    natsSubscription_Destroy(subscription);
}

static void answer(natsConnection *connection, natsSubscription *subscription, natsMsg *message, void *closure)
{
    (void)subscription;
    (void)closure;
    check(natsConnection_PublishString(connection, natsMsg_GetReply(message), "abab"), "answer");
    natsMsg_Destroy(message);
}

static void request(natsConnection *client, natsConnection *other)
{
    natsSubscription *subscription = NULL;
    natsMsg *message = NULL;
    check(natsConnection_Subscribe(&subscription, client, "double", answer, NULL), "subscribe");
    check(natsConnection_Flush(client), "flush");
    check(natsConnection_RequestString(&message, other, "double", "ab", PATIENCE_MS), "request");
    require(strcmp(natsMsg_GetData(message), "abab") == 0, "the answer");
    natsMsg_Destroy(message);
    natsSubscription_Destroy(subscription);
}

static void queue_group(natsConnection *client, natsConnection *other)
{
    natsConnection *members[] = {client, other};
    natsSubscription *subscriptions[2];
    int seen[200] = {0}, total = 0;
    char text[16];
    for (int member = 0; member < 2; member++)
        subscriptions[member] = subscribe(members[member], "work", "workers");
    for (int number = 0; number < 200; number++) {
        snprintf(text, sizeof text, "%d", number);
        check(natsConnection_PublishString(client, "work", text), "publish");
    }
    check(natsConnection_Flush(client), "flush");
    check(natsConnection_Flush(other), "flush");
    for (int member = 0; member < 2; member++) {
        uint64_t count = 0;
        check(natsSubscription_QueuedMsgs(subscriptions[member], &count), "count");
        require(count > 0, "each member gets some of 200 messages");
        for (; count > 0; count--, total++) {
            natsMsg *message = next(subscriptions[member]);
            seen[atoi(natsMsg_GetData(message))]++;
            natsMsg_Destroy(message);
        }
        natsSubscription_Destroy(subscriptions[member]);
    }
    require(total == 200, "200 messages");
    for (int number = 0; number < 200; number++)
        require(seen[number] == 1, "each message once");
}

static void headers(natsConnection *client, natsConnection *other)
{
    natsSubscription *subscription = subscribe(client, "headers", NULL);
    natsMsg *message = NULL;
    const char *value = NULL;
    check(natsMsg_Create(&message, "headers", NULL, "body", 4), "message");
    check(natsMsgHeader_Set(message, "Kind", "test"), "header");
    check(natsConnection_PublishMsg(other, message), "publish");
    natsMsg_Destroy(message);
    message = next(subscription);
    check(natsMsgHeader_Get(message, "Kind", &value), "header");
    require(strcmp(value, "test") == 0, "the value");
    natsMsg_Destroy(message);
    natsSubscription_Destroy(subscription);
}

static void echo(natsConnection *connection)
{
    natsSubscription *subscription = subscribe(connection, "echo", NULL);
    check(natsConnection_PublishString(connection, "echo", "hello"), "publish");
    expect(subscription, "hello");
    natsSubscription_Destroy(subscription);
    natsConnection_Destroy(connection);
}

static void tls(void)
{
    natsConnection *connection = NULL;
    echo(connect_to("TLS_URL", "CA", 0));
    require(try_connect(&connection, "TLS_URL", "OTHER_CA", 0) == NATS_SSL_ERROR,
            "a certificate of another CA is refused");
}

static void restart_broker(void)
{
    char line[32];
    printf("restart\n");
    fflush(stdout);
    require(fgets(line, sizeof line, stdin) != NULL && strcmp(line, "restarted\n") == 0, "a new broker");
}

static void reconnect(void)
{
    natsConnection *client = connect_to("URL", NULL, 0), *publisher = NULL;
    natsSubscription *subscription = subscribe(client, "again", NULL);
    natsMsg *message = NULL;
    natsStatus status;
    int attempts = 0;
    restart_broker();
    publisher = connect_to("URL", NULL, 0);
    do {
        check(natsConnection_PublishString(publisher, "again", "after"), "publish");
        check(natsConnection_Flush(publisher), "flush");
        status = natsSubscription_NextMsg(&message, subscription, 20);
    } while (status == NATS_TIMEOUT && ++attempts < PATIENCE_MS / 20);
    check(status, "a message after the restart");
    natsMsg_Destroy(message);
    natsSubscription_Destroy(subscription);
    natsConnection_Destroy(publisher);
    natsConnection_Destroy(client);
}

int main(void)
{
    static const struct {
        const char *name;
        void (*prove)(natsConnection *, natsConnection *);
    } features[] = {
        {"messages", messages},
        {"request", request},
        {"queue_group", queue_group},
        {"headers", headers},
    };
    for (size_t at = 0; at < sizeof features / sizeof *features; at++) {
        natsConnection *client = connect_to("URL", NULL, 0), *other = connect_to("URL", NULL, 0);
        features[at].prove(client, other);
        proven(features[at].name);
        natsConnection_Destroy(client);
        natsConnection_Destroy(other);
    }
    tls();
    proven("tls");
    echo(connect_to("VERIFYING_URL", "CA", 1));
    proven("certificate");
    reconnect();
    proven("reconnect");
    nats_Close();
    return 0;
}
