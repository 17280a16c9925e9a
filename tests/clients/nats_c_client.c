/* Proves the features of a broker with the C client.
 *
 * Usage: nats_c_client nats://HOST:PORT
 * Prints a line per feature; ends with 1 at the first that fails.
 */

#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_MS 10000

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

static natsConnection *connect_to(const char *url)
{
    natsOptions *options = NULL;
    natsConnection *connection = NULL;
    check(natsOptions_Create(&options), "options");
    check(natsOptions_SetURL(options, url), "url");
    check(natsOptions_SetAllowReconnect(options, false), "no reconnect");
    check(natsConnection_Connect(&connection, options), "connect");
    natsOptions_Destroy(options);
    return connection;
}

static natsSubscription *subscribe(natsConnection *connection, const char *subject)
{
    natsSubscription *subscription = NULL;
    check(natsConnection_SubscribeSync(&subscription, connection, subject), "subscribe");
    check(natsConnection_Flush(connection), "flush");
    return subscription;
}

static void expect(natsSubscription *subscription, const char *text)
{
    natsMsg *message = NULL;
    check(natsSubscription_NextMsg(&message, subscription, PATIENCE_MS), "next message");
    require(strcmp(natsMsg_GetData(message), text) == 0, text);
    natsMsg_Destroy(message);
}

static void publish_number(natsConnection *connection, const char *subject, int number)
{
    char text[16];
    snprintf(text, sizeof text, "%d", number);
    check(natsConnection_PublishString(connection, subject, text), "publish");
}

static void publish_subscribe(natsConnection *client, natsConnection *other)
{
    natsSubscription *subscription = subscribe(client, "c.*");
    char text[16];
    for (int number = 0; number < 100; number++)
        publish_number(other, "c.a", number);
    for (int number = 0; number < 100; number++) {
        snprintf(text, sizeof text, "%d", number);
        expect(subscription, text);
    }
    natsSubscription_Destroy(subscription);
}

static void answer(natsConnection *connection, natsSubscription *subscription,
                   natsMsg *message, void *closure)
{
    (void)subscription;
    (void)closure;
    check(natsConnection_PublishString(connection, natsMsg_GetReply(message), "answer"), "answer");
    natsMsg_Destroy(message);
}

static void request_reply(natsConnection *client, natsConnection *other)
{
    natsSubscription *subscription = NULL;
    natsMsg *message = NULL;
    check(natsConnection_Subscribe(&subscription, client, "ask", answer, NULL), "serve");
    check(natsConnection_Flush(client), "flush");
    check(natsConnection_RequestString(&message, other, "ask", "?", PATIENCE_MS), "request");
    require(strcmp(natsMsg_GetData(message), "answer") == 0, "the answer");
    natsMsg_Destroy(message);
    natsSubscription_Destroy(subscription);
}

static int pending(natsSubscription *subscription)
{
    int messages = 0;
    check(natsSubscription_GetPending(subscription, &messages, NULL), "pending");
    return messages;
}

static void queue_group(natsConnection *client, natsConnection *other)
{
    natsSubscription *first = NULL, *second = NULL;
    check(natsConnection_QueueSubscribeSync(&first, client, "work", "workers"), "member");
    check(natsConnection_QueueSubscribeSync(&second, other, "work", "workers"), "member");
    check(natsConnection_Flush(client), "flush");
    check(natsConnection_Flush(other), "flush");
    for (int number = 0; number < 200; number++)
        publish_number(client, "work", number);
    check(natsConnection_Flush(client), "flush");
    check(natsConnection_Flush(other), "flush");
    require(pending(first) > 0 && pending(second) > 0, "both members get some");
    require(pending(first) + pending(second) == 200, "every message comes once");
    natsSubscription_Destroy(first);
    natsSubscription_Destroy(second);
}

static void headers(natsConnection *client, natsConnection *other)
{
    natsSubscription *subscription = subscribe(client, "headers");
    natsMsg *message = NULL;
    const char *value = NULL;
    check(natsMsg_Create(&message, "headers", NULL, "body", 4), "message");
    check(natsMsgHeader_Set(message, "Kind", "test"), "header");
    check(natsConnection_PublishMsg(other, message), "publish");
    natsMsg_Destroy(message);
    check(natsSubscription_NextMsg(&message, subscription, PATIENCE_MS), "next message");
    check(natsMsgHeader_Get(message, "Kind", &value), "header");
    require(strcmp(value, "test") == 0, "the header's value");
    natsMsg_Destroy(message);
    natsSubscription_Destroy(subscription);
}

static void no_responders(natsConnection *client, natsConnection *other)
{
    natsMsg *message = NULL;
    (void)other;
    natsStatus status = natsConnection_RequestString(&message, client, "nobody", "?", PATIENCE_MS);
    require(status == NATS_NO_RESPONDERS, "nobody responds");
}

static void unsubscribe_after(natsConnection *client, natsConnection *other)
{
    natsSubscription *subscription = subscribe(client, "limited");
    natsMsg *message = NULL;
    check(natsSubscription_AutoUnsubscribe(subscription, 3), "limit");
    check(natsConnection_Flush(client), "flush");
    for (int number = 0; number < 5; number++)
        publish_number(other, "limited", number);
    expect(subscription, "0");
    expect(subscription, "1");
    expect(subscription, "2");
    natsStatus status = natsSubscription_NextMsg(&message, subscription, PATIENCE_MS);
    require(status == NATS_MAX_DELIVERED_MSGS || status == NATS_INVALID_SUBSCRIPTION, "the end");
    natsSubscription_Destroy(subscription);
}

static void large_payload(natsConnection *client, natsConnection *other)
{
    natsSubscription *subscription = subscribe(client, "large");
    natsMsg *message = NULL;
    int size = (int)natsConnection_GetMaxPayload(client);
    char *payload = malloc((size_t)size);
    require(payload != NULL, "memory");
    memset(payload, 'x', (size_t)size);
    check(natsConnection_Publish(other, "large", payload, size), "publish");
    check(natsSubscription_NextMsg(&message, subscription, PATIENCE_MS), "next message");
    require(natsMsg_GetDataLength(message) == size, "the size");
    require(memcmp(natsMsg_GetData(message), payload, (size_t)size) == 0, "the bytes");
    free(payload);
    natsMsg_Destroy(message);
    natsSubscription_Destroy(subscription);
}

static void drain(natsConnection *client, natsConnection *other)
{
    natsSubscription *subscription = subscribe(client, "drain");
    natsMsg *message = NULL;
    int received = 0;
    for (int number = 0; number < 100; number++)
        publish_number(other, "drain", number);
    check(natsConnection_Flush(other), "flush");
    check(natsSubscription_Drain(subscription), "drain");
    while (natsSubscription_NextMsg(&message, subscription, PATIENCE_MS) == NATS_OK) {
        received++;
        natsMsg_Destroy(message);
    }
    require(received == 100, "all messages before the end");
    natsSubscription_Destroy(subscription);
}

static const struct {
    const char *name;
    void (*prove)(natsConnection *client, natsConnection *other);
} features[] = {
    {"publish_subscribe", publish_subscribe},
    {"request_reply", request_reply},
    {"queue_group", queue_group},
    {"headers", headers},
    {"no_responders", no_responders},
    {"unsubscribe_after", unsubscribe_after},
    {"large_payload", large_payload},
    {"drain", drain},
};

int main(int argc, char **argv)
{
    require(argc == 2, "one argument, the broker's URL");
    for (size_t n = 0; n < sizeof features / sizeof *features; n++) {
        natsConnection *client = connect_to(argv[1]), *other = connect_to(argv[1]);
        features[n].prove(client, other);
        printf("%s: ok\n", features[n].name);
        natsConnection_Destroy(client);
        natsConnection_Destroy(other);
    }
    nats_Close();
    return 0;
}
