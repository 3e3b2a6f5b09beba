//! How every adapter is a [`super::Forge`]: each question goes to the method of the adapter that answers it.

/// Makes an adapter a forge. It has `api` and `shown`, and a method for each question.
macro_rules! answers_as_forge {
    ($adapter:ty) => {
        const _: () = {
            use jiff::Timestamp;

            use $crate::domain::name::Oid;
            use $crate::domain::review::{Comment, Offer, OwnIssue, Permission, Seen, Status, Thread, Wanted};
            use $crate::forge::{Answer, Forge};

            impl Forge for $adapter {
                fn shown(&self) -> &str {
                    &self.shown
                }

                fn me(&self) -> Answer<'_, String> {
                    Box::pin(self.my_name())
                }

                fn reviews(&self, since: Timestamp) -> Answer<'_, Vec<Seen>> {
                    Box::pin(self.all_reviews(since))
                }

                fn review(&self, number: u64) -> Answer<'_, Seen> {
                    Box::pin(self.one_review(number))
                }

                fn open(&self, wanted: Wanted) -> Answer<'_, Seen> {
                    Box::pin(self.open_review(wanted))
                }

                fn update(&self, number: u64, wanted: Wanted) -> Answer<'_, Seen> {
                    Box::pin(self.update_review(number, wanted))
                }

                fn close(&self, number: u64, why: String) -> Answer<'_, ()> {
                    Box::pin(self.close_review(number, why))
                }

                fn merge(&self, number: u64, head: Oid) -> Answer<'_, ()> {
                    Box::pin(self.merge_review(number, head))
                }

                fn comments(&self, thread: Thread, since: Timestamp) -> Answer<'_, Vec<Comment>> {
                    Box::pin(self.comments_since(thread, since))
                }

                fn say(&self, thread: Thread, key: String, text: String) -> Answer<'_, ()> {
                    Box::pin(async move { self.say_once(thread, &key, &text).await })
                }

                fn permission(&self, person: String) -> Answer<'_, Permission> {
                    Box::pin(async move { self.permission_of(&person).await })
                }

                fn offers(&self) -> Answer<'_, Vec<Offer>> {
                    Box::pin(self.all_offers())
                }

                fn tell(&self, status: Status) -> Answer<'_, ()> {
                    Box::pin(self.put_status(status))
                }

                fn issue(&self, key: String, title: String, body: String) -> Answer<'_, u64> {
                    Box::pin(async move { self.put_issue(&key, &title, &body).await })
                }

                fn own_issue(&self, key: String) -> Answer<'_, Option<OwnIssue>> {
                    Box::pin(async move { Ok(self.kept_issue(&key).await?.map(|issue| issue.own())) })
                }
            }
        };
    };
}

pub(super) use answers_as_forge;
